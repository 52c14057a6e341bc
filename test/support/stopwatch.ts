// Measures how long something makes others wait, apart from the machine: what passes while this process
// gets no processor, or is busy itself, is left out.

export interface Stopwatch {
  /** Milliseconds. */
  readonly now: number
  stop(): void
}

/** What it shows goes by so much, milliseconds. */
export const TICK = 10
/** A tick that comes much later was held up. */
const MOST = 2 * TICK

export function startStopwatch(): Stopwatch {
  let now = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const at = performance.now()
    now += Math.min(at - last, MOST)
    last = at
  }, TICK)
  return {
    get now() {
      return now
    },
    stop: () => clearInterval(timer),
  }
}

// Measures how long something makes others wait, whatever the speed of the machine: it leaves out the time in
// which this process is busy or gets no CPU.

export interface Stopwatch {
  /** Milliseconds. */
  readonly now: number
  stop(): void
}

/** The resolution, in milliseconds. */
export const TICK = 10
/** A tick that comes much later was delayed. */
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

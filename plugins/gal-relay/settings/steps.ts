// Long work in small steps: done at once if nothing else waits, as at start and in commands, or in
// slices, between which mail is answered.
import { setImmediate as turn } from 'node:timers/promises'

/** Work that pauses after each step; its return value is the result. */
export type Steps<T> = Generator<undefined, T, undefined>

/** How long a slice may block the event loop, in milliseconds; its last step may exceed this. */
const SLICE = 5

/** @throws whatever a step throws */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/**
 * @param isWanted called between two slices
 * @returns `undefined` if the work is no longer wanted; only its `finally` blocks run then
 * @throws whatever a step throws
 */
export async function inSlices<T>(
  steps: Steps<T>,
  isWanted: () => boolean,
): Promise<T | undefined> {
  while (isWanted()) {
    const end = performance.now() + SLICE
    do {
      const step = steps.next()
      if (step.done) return step.value
    } while (performance.now() < end)
    await turn()
  }
  steps.return(undefined as never)
  return undefined
}

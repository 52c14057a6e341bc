// Long work in small steps. At start and in commands it runs at once; otherwise a slice at a time, and mail is
// answered between slices.
import { setImmediate as turn } from 'node:timers/promises'

/** Work that yields after each step and returns its result. */
export type Steps<T> = Generator<undefined, T, undefined>

/** Milliseconds for which the event loop is kept at a time; the last step may exceed it. */
const SLICE = 5

/** @throws whatever a step throws */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/**
 * @param isWanted asked between two slices
 * @returns undefined if it is no longer wanted; then only its `finally` blocks run
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

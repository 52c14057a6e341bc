// Long work in small steps: done at once where nobody waits for anything else, as at start and in
// commands, or a slice at a time, between which mail is answered.
import { setImmediate as turn } from 'node:timers/promises'

/** Work that stops after each step; what it returns is the outcome. */
export type Steps<T> = Generator<undefined, T, undefined>

/** How long the event loop is kept at a time, milliseconds; the last step may exceed it. */
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
 * @returns undefined when it was not wanted any more: then it goes no further than its `finally`
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

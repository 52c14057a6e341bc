// Waits until a condition holds.
import { setTimeout as sleep } from 'node:timers/promises'

/** For what an idle machine does in no time, in milliseconds. */
const PATIENCE = 60_000

/**
 * @param what for the message
 * @param within milliseconds
 * @param every how long to wait before the condition is looked at again, milliseconds
 * @throws Error when it does not hold within that time
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string) = String(condition),
  within = PATIENCE,
  every = 20,
): Promise<void> {
  const end = performance.now() + within
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`not so within ${within} ms: ${typeof what === 'string' ? what : what()}`)
    }
    await sleep(every)
  }
}

// Waiting for something to become so.
import { setTimeout as sleep } from 'node:timers/promises'

/** For what takes no time worth mentioning on a machine that has nothing else to do. */
const PATIENCE = 60_000

/**
 * @param what for the message
 * @throws Error when it is not so within that many milliseconds
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string) = String(condition),
  within = PATIENCE,
): Promise<void> {
  const end = performance.now() + within
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`not so within ${within} ms: ${typeof what === 'string' ? what : what()}`)
    }
    await sleep(20)
  }
}

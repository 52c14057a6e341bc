// Waiting for something to become so.
import { setTimeout as sleep } from 'node:timers/promises'

/** For what takes no time worth mentioning on a machine that has nothing else to do. */
const PATIENCE = 60_000

/** @throws Error when it is not so within that many milliseconds */
export async function until(
  condition: () => boolean | Promise<boolean>,
  within = PATIENCE,
  what: () => string = () => String(condition),
): Promise<void> {
  const end = performance.now() + within
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not so within ${within} ms: ${what()}`)
    await sleep(20)
  }
}

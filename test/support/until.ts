// Waits until a condition holds.
import { setTimeout as sleep } from 'node:timers/promises'

/** For what an idle machine does in no time, in milliseconds. */
const PATIENCE = 60_000

/**
 * Waiting must not keep the machine busy: a condition that takes long to check, such as one that asks a server,
 * is checked again only after so many times as long, but after so many milliseconds at the latest.
 */
const TIMES_AS_LONG = 4
const AT_THE_LATEST = 500

/**
 * @param what for the message
 * @param within milliseconds
 * @param pause milliseconds, at least, until the condition is checked again
 * @throws Error when it does not hold within that time
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string) = String(condition),
  within = PATIENCE,
  pause = 20,
): Promise<void> {
  const end = performance.now() + within
  for (;;) {
    const begun = performance.now()
    if (await condition()) return
    const now = performance.now()
    if (now > end) {
      throw new Error(`not so within ${within} ms: ${typeof what === 'string' ? what : what()}`)
    }
    await sleep(Math.max(pause, Math.min(TIMES_AS_LONG * (now - begun), AT_THE_LATEST)))
  }
}

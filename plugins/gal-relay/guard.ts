// Work that runs outside of Haraka's hooks: timers, listeners, callbacks, promises that nobody awaits.
// An exception there would end the whole server, so all such work is started here: a failure is counted and
// logged with its stack, and the caller says what to do instead.

/**
 * Runs after a failure, for example to end a connection or to set a timer again. It gets the error, followed
 * by the arguments of the work.
 */
export type Recovery<A extends readonly unknown[] = []> = (error: unknown, ...given: A) => unknown

/** A function that neither throws nor rejects, made by {@link guard}. */
export type Guarded<A extends readonly unknown[] = []> = ((...given: A) => void) & {
  readonly [guarded]: true
}
declare const guarded: unique symbol

type FailureLog = (what: string, error: unknown) => void

let log: FailureLog = (what, error) => console.error(`failure in ${what}:`, error)
let beforeWork: ((what: string) => void) | undefined

/** Where failures are reported in this process. Standard error until it is set. */
export function onFailure(tell: FailureLog): void {
  log = tell
}

/** For tests: called with the name of each piece of work before it runs; what it throws is a failure of it. */
export function injectFaults(inject: typeof beforeWork): void {
  beforeWork = inject
}

/** Reports a failure. Never throws. */
export function failed(what: string, error: unknown): void {
  try {
    log(what, error)
  } catch {
    // There is no other way to report it.
  }
}

/**
 * A listener or callback that neither throws nor rejects.
 * @param what its name in the log, unique in the code
 */
export function guard<A extends readonly unknown[]>(
  what: string,
  work: (...given: A) => unknown,
  recover?: Recovery<A>,
): Guarded<A> {
  const listener = (...given: A) => {
    try {
      beforeWork?.(what)
      const ending = work(...given)
      if (ending instanceof Promise) {
        ending.catch((error: unknown) => afterFailure(what, error, recover, given))
      }
    } catch (error) {
      afterFailure(what, error, recover, given)
    }
  }
  return listener as Guarded<A>
}

/** Runs work that nobody waits for. */
export function unattended(what: string, work: () => unknown, recover?: Recovery): void {
  try {
    beforeWork?.(what)
    const ending = work()
    if (ending instanceof Promise) {
      ending.catch((error: unknown) => afterFailure(what, error, recover, NOTHING))
    }
  } catch (error) {
    afterFailure(what, error, recover, NOTHING)
  }
}

/** Runs it once, after this many milliseconds. */
export function later(
  milliseconds: number,
  what: string,
  work: () => unknown,
  recover?: Recovery,
): NodeJS.Timeout {
  return setTimeout(unattended, milliseconds, what, work, recover)
}

/** Runs it at this interval; a failure does not stop the next run. */
export function every(milliseconds: number, what: string, work: () => unknown): NodeJS.Timeout {
  return setInterval(unattended, milliseconds, what, work)
}

/** Runs it once pending input has been read. */
export function soon(what: string, work: () => unknown, recover?: Recovery): void {
  setImmediate(unattended, what, work, recover)
}

const NOTHING: [] = []

function afterFailure<A extends readonly unknown[]>(
  what: string,
  error: unknown,
  recover: Recovery<A> | undefined,
  given: A,
): void {
  failed(what, error)
  if (!recover) return
  try {
    const ending = recover(error, ...given)
    if (ending instanceof Promise) ending.catch((again: unknown) => failed(what, again))
  } catch (again) {
    failed(what, again)
  }
}

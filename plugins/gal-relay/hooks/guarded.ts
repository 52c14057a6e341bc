// What stands around every hook. Nothing that goes wrong in one may reach Haraka, where an exception
// after an await ends the server: the answer is then 451 and the stack is in the log.
import { unattended } from '../guard'
import { INTERNAL_ERROR } from '../routing/decide'
import { log } from './log'
import { dsnOf } from './replies'
import { state } from './state'

type Hook<P, R = undefined> = (
  this: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  params: P,
) => R

/** Catches what the hook throws or rejects with; the answer is then 451 and the stack is in the log. */
export function guarded<P = undefined>(hook: Hook<P, undefined | Promise<undefined>>): Hook<P> {
  return function (next, connection, params) {
    try {
      const ending = hook.call(this, next, connection, params)
      if (ending) watch(ending, this, next, connection)
    } catch (error) {
      fail(this, next, connection, error)
    }
  }
}

function watch(
  ending: Promise<undefined>,
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
): void {
  const caught = ending.catch((error) => fail(plugin, next, connection, error))
  unattended('answer after a failure', () => caught)
}

// Should the hook have answered before it failed, that answer stands: Haraka ignores a second one.
function fail(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  error: unknown,
): void {
  logFailure(plugin, connection, error)
  next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
}

/** For hooks that only look on: Haraka goes on as if they were not there, whatever happens in them. */
export function looking<P = undefined>(
  look: (this: Haraka.Plugin, connection: Haraka.Connection, params: P) => void,
): Hook<P> {
  return function (next, connection, params) {
    try {
      look.call(this, connection, params)
    } catch (error) {
      logFailure(this, connection, error)
    }
    return next()
  }
}

export function logFailure(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  error: unknown,
): void {
  state.counts.errors++
  log(connection, 'error', plugin, 'failed:', error instanceof Error ? error : String(error))
}

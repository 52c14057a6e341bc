// What stands around every hook. Nothing that goes wrong in one may reach Haraka, where an exception
// after an await ends the server: the answer is then 451 and the stack is in the log.
import { INTERNAL_ERROR } from '../routing/decide'
import { wordsOf } from './replies'
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
    let answered = false
    const answer: Haraka.Next = (code, message) => {
      answered = true
      return next(code, message)
    }
    const fail = (error: unknown) => {
      logFailure(this, connection, error)
      if (!answered) answer(DENYSOFT, wordsOf(INTERNAL_ERROR.reply).dsn)
    }
    try {
      hook.call(this, answer, connection, params)?.catch(fail)
    } catch (error) {
      fail(error)
    }
  }
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
  connection.logerror(plugin, 'failed:', error instanceof Error ? error : new Error(String(error)))
}

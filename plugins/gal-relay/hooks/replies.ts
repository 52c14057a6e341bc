// A verdict's reply as Haraka takes it.
import type DSN from 'haraka-dsn'
import { replyOf } from '../haraka/internals'
import { textAfterCode } from '../report/refusal'
import type { Reply } from '../routing/decide'

// There are few replies, and Haraka changes none.
const known = new WeakMap<Reply, DSN | string>()

/** To a recipient, with DENY or DENYSOFT. */
export function answerOf(reply: Reply): DSN | string {
  const same = known.get(reply)
  if (same) return same
  const answer = reply.code === DENIED ? textAfterCode(reply) : dsnOf(reply)
  known.set(reply, answer)
  return answer
}

/** What Haraka says to a recipient at DENY of itself: with a text it has less to do than with a DSN. */
const DENIED = 550

export function dsnOf({ code, text, status }: Reply): DSN {
  return replyOf(code, text, ...status)
}

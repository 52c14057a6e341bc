// A verdict's reply as Haraka takes it.
import DSN from 'haraka-dsn'
import type { Reply } from '../routing/decide'

// There are few replies, and Haraka changes none.
const known = new WeakMap<Reply, DSN>()

export function dsnOf(reply: Reply): DSN {
  const same = known.get(reply)
  if (same) return same
  const { code, text, status } = reply
  const dsn = DSN.create(code, text, ...status)
  known.set(reply, dsn)
  return dsn
}

// A verdict's reply in Haraka's words.
import DSN from 'haraka-dsn'
import { replyText } from '../report/refusal'
import type { Reply } from '../routing/decide'

interface Words {
  readonly dsn: DSN
  readonly text: string
}

// There are few replies, and Haraka changes none.
const words = new WeakMap<Reply, Words>()

export function wordsOf(reply: Reply): Words {
  const known = words.get(reply)
  if (known) return known
  const { code, text, status } = reply
  const made = { dsn: DSN.create(code, text, ...status), text: replyText(reply) }
  words.set(reply, made)
  return made
}

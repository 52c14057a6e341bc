// What is refused: the reply, the result, and what is told of it.
import type { Refused } from '../routing/decide'
import { guarded } from './guarded'
import { answerOf } from './replies'
import { tellResult } from './results'
import type { Session } from './session'
import { tellOfRefused } from './telling'

export function refuse(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  recipient: string,
  session: Session,
  verdict: Refused,
): undefined {
  const { transaction } = connection
  const { rule, reply } = verdict
  if (transaction) tellResult(plugin, transaction, false, rule, recipient)
  tellOfRefused(plugin, connection, session.policy, recipient, verdict)
  return next(reply.code < 500 ? DENYSOFT : DENY, answerOf(reply))
}

// A plugin such as delay_deny answers a refusal with OK, and Haraka then goes on as if nobody had
// answered: 550 to a recipient that was deferred, 250 to anyone for a client that may relay.
export const keep_refusal = guarded<readonly [unknown, unknown, string]>(function (
  next,
  _connection,
  [, , refusedBy],
) {
  return refusedBy === this.name ? next(STOP) : next()
})

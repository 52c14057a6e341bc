// What is refused: the reply, the result, the count, and one line in the log.
import { lineOf, RefusalFields, type Sender } from '../report/refusal'
import type { Refused } from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { guarded } from './guarded'
import { wordsOf } from './replies'
import { addResult } from './results'
import { accountOf, listenerOf } from './session'
import { state } from './state'

export function refuse(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  recipient: string,
  policy: ListenerPolicy,
  verdict: Refused,
): undefined {
  const { transaction } = connection
  const { rule, reply } = verdict
  if (transaction) addResult(plugin, transaction, false, rule, recipient)
  state.counts.answered(policy.name, 'enforce', verdict)
  const { dsn, text } = wordsOf(reply)
  const fields = fieldsOf(plugin, connection)
  state.counts.refused(fields.sender, recipient, rule, text)
  logRefusal(plugin, connection, fields, recipient, rule, text)
  return next(reply.code < 500 ? DENYSOFT : DENY, dsn)
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

// Half of all answers may be refusals, and what Haraka's logger does with fields, and each write to
// standard output, take longer than the answer. The line is the same, put together here; a plugin
// that takes the log elsewhere gets it alone.
function logRefusal(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  fields: RefusalFields,
  recipient: string,
  rule: string,
  reply: string,
): void {
  const { logger, refusals } = state
  if (logger.format !== logger.formats.DEFAULT || state.isLogTaken) {
    connection.lognotice(plugin, 'refused', lineOf(fields.sender, recipient, rule, reply))
  } else if (logger.would_log(logger.LOGNOTICE)) {
    refusals.add(fields.of(recipient, rule, reply))
  }
}

const fieldsOfTransactions = new WeakMap<Haraka.Transaction, RefusalFields>()

export function fieldsOf(plugin: Haraka.Plugin, connection: Haraka.Connection): RefusalFields {
  const { transaction } = connection
  const known = transaction && fieldsOfTransactions.get(transaction)
  // Haraka takes AUTH in the middle of a transaction too.
  if (known && known.sender.account === (accountOf(connection) ?? '')) return known
  const { uuid } = transaction ?? connection
  const fields = new RefusalFields(
    senderOf(connection),
    `[NOTICE] [${uuid}] [${plugin.name}] refused `,
  )
  if (transaction) fieldsOfTransactions.set(transaction, fields)
  return fields
}

function senderOf(connection: Haraka.Connection): Sender {
  const { transaction, remote, hello } = connection
  return {
    client: remote.ip ?? '',
    host: remote.host ?? '',
    helo: hello.host ?? '',
    account: accountOf(connection) ?? '',
    sender: transaction?.mail_from.address ?? '',
    listener: listenerOf(connection),
  }
}

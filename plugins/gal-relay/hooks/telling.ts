// What is told of an answer: it is counted, and a refusal has a line in the log and a place on the
// status page.
import { addressOf, lineHeading } from '../haraka/internals'
import { lineOf, RefusalFields, replyText, type Sender } from '../report/refusal'
import type { Refused, Verdict } from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { accountOf, listenerOf, type Session } from './session'
import { state } from './state'

export function tellOfAccepted({ name }: ListenerPolicy, verdict: Verdict): void {
  state.told.accepted(name, verdict)
}

// What Haraka's logger does with fields takes longer than the answer. The line is the same, put
// together here; a plugin that takes the log elsewhere gets it alone.
export function tellOfRefused(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  session: Session,
  recipient: string,
  verdict: Refused,
): void {
  const { logger, isLogTaken, told } = state
  const fields = fieldsOf(plugin, connection, session)
  const isPlain = !isLogTaken && logger.isPlain
  const isLogged = isPlain && logger.isNoticeLogged
  told.refused(fields, session.policy.name, verdict, isLogged, recipient)
  if (isPlain) return
  const { rule, reply } = verdict
  connection.lognotice(plugin, 'refused', lineOf(fields.sender, recipient, rule, replyText(reply)))
}

/** The same for all recipients of a transaction: an account is part of the session. */
export function fieldsOf(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  session: Session,
): RefusalFields {
  const { transaction } = connection
  const { uuid } = transaction ?? connection
  if (session.told && session.told.uuid === uuid) return session.told.fields
  const fields = new RefusalFields(senderOf(connection), `${lineHeading(plugin, uuid)}refused `)
  if (transaction) session.told = { uuid, fields }
  return fields
}

function senderOf(connection: Haraka.Connection): Sender {
  const { transaction, remote, hello } = connection
  return {
    client: remote.ip ?? '',
    host: remote.host ?? '',
    helo: hello.host ?? '',
    account: accountOf(connection) ?? '',
    sender: transaction ? addressOf(transaction.mail_from) : '',
    listener: listenerOf(connection),
  }
}

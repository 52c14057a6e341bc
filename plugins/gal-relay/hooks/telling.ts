// What is told of an answer: it is counted, and a refusal has a line in the log and a place on the
// status page.
import { addressOf } from '../haraka/internals'
import { lineOf, replyText, type Sender } from '../report/refusal'
import type { Refused, Verdict } from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { log } from './log'
import { accountOf, listenerOf } from './session'
import { state } from './state'

export function tellOfAccepted({ name }: ListenerPolicy, verdict: Verdict): void {
  state.counts.answered(name, 'enforce', verdict)
}

export function tellOfRefused(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  { name }: ListenerPolicy,
  recipient: string,
  verdict: Refused,
): void {
  const { counts } = state
  const { rule } = verdict
  const sender = senderOf(connection)
  const reply = replyText(verdict.reply)
  counts.answered(name, 'enforce', verdict)
  counts.refused({ sender, rule, reply, recipient })
  log(connection, 'notice', plugin, 'refused', lineOf(sender, recipient, rule, reply))
}

export function senderOf(connection: Haraka.Connection): Sender {
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

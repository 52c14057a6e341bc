// The line in the log for each refused recipient (Q193922, last paragraph).
import type { Reply } from '../routing/decide'
import { visible } from '../visible'

/** Who wanted to send: the same for every recipient of a transaction. */
export interface Sender {
  readonly client: string
  /** Client host name as found by reverse DNS. */
  readonly host: string
  /** What the client called itself in EHLO. */
  readonly helo: string
  /** The account the client authenticated as; '' when it has not. */
  readonly account: string
  readonly sender: string
  /** Local address and port the client connected to. */
  readonly listener: string
}

export interface Refusal extends Sender {
  /** As sent. */
  readonly recipient: string
  readonly rule: string
  readonly reply: string
  /** Where the plugin only observes: what Haraka answered; '' when the client did not wait for it. */
  readonly answered?: string
}

/** `550 5.7.1 Relaying is prohibited` */
export function replyText(reply: Reply): string {
  return `${reply.code} ${textAfterCode(reply)}`
}

/** `5.7.1 Relaying is prohibited` */
export function textAfterCode({ code, status, text }: Reply): string {
  return `${Math.floor(code / 100)}.${status.join('.')} ${text}`
}

/** The fields of a line in the log, in order, under the names that Haraka has for them. */
export interface RefusalLine {
  readonly ip: string
  readonly rdns: string
  readonly helo: string
  readonly account: string
  readonly sender: string
  readonly recipient: string
  readonly local_ip: string
  readonly local_port: string
  readonly rule: string
  readonly reply: string
  /** What is wrong, where the reply does not say it. */
  readonly problem?: string
}

export function lineOf(
  from: Sender,
  recipient: string,
  rule: string,
  reply: string,
  problem?: string,
): RefusalLine {
  const { client, host, helo, account, sender, listener } = from
  const colon = listener.lastIndexOf(':')
  return {
    ip: client,
    rdns: visible(host),
    helo: visible(helo),
    account: visible(account),
    sender: visible(sender),
    recipient: visible(recipient),
    local_ip: listener.slice(0, colon),
    local_port: listener.slice(colon + 1),
    rule,
    reply,
    ...(problem === undefined ? {} : { problem: visible(problem) }),
  }
}

// The line in the log for each recipient: for a refused one as Q193922 has it in its last paragraph, for an
// accepted one with the way that it goes.
import type { Accepted, Reply } from '../routing/decide'

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

/** The fields of a line in the log, in order, under the names that Haraka has for them; as they came. */
interface Line {
  readonly ip: string
  readonly rdns: string
  readonly helo: string
  readonly account: string
  readonly sender: string
  readonly recipient: string
  readonly local_ip: string
  readonly local_port: string
  readonly rule: string
}

export interface RefusalLine extends Line {
  reply: string
  /** What is wrong, where the reply does not say it. */
  problem?: string
}

export interface AcceptanceLine extends Line {
  path: Accepted['path']
  /** Next hops in the order in which they are tried: `mx` for the domain's MX hosts, '' for queue plugins. */
  hop: string
  /** The address by which it leaves; '' for the recipient itself. */
  leaves_as: string
}

// Fields are added to the object that there is: to copy it into another takes longer than all the rest.

export function lineOf(
  from: Sender,
  recipient: string,
  rule: string,
  reply: string,
  problem?: string,
): RefusalLine {
  const line = commonOf(from, recipient, rule) as RefusalLine
  line.reply = reply
  if (problem !== undefined) line.problem = problem
  return line
}

/** @param leavesAs the address by which it leaves */
export function acceptanceOf(
  from: Sender,
  recipient: string,
  { rule, path, hops }: Accepted,
  leavesAs: string,
): AcceptanceLine {
  const line = commonOf(from, recipient, rule) as AcceptanceLine
  line.path = path
  line.hop = path === 'queue' ? '' : hops.map(({ text }) => text).join(',') || 'mx'
  line.leaves_as = leavesAs === recipient ? '' : leavesAs
  return line
}

function commonOf(from: Sender, recipient: string, rule: string): Line {
  const { client, host, helo, account, sender, listener } = from
  const colon = listener.lastIndexOf(':')
  return {
    ip: client,
    rdns: host,
    helo,
    account,
    sender,
    recipient,
    local_ip: listener.slice(0, colon),
    local_port: listener.slice(colon + 1),
    rule,
  }
}

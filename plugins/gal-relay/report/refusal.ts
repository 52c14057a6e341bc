// The log line of each recipient: a refused one as in the last paragraph of Q193922, an accepted one with its
// next hop.
import type { Accepted, Reply } from '../routing/decide'

/** The client and the sender, which are the same for all recipients of a transaction. */
export interface Sender {
  readonly client: string
  /** Host name of the client by reverse DNS. */
  readonly host: string
  /** The name that the client gave in EHLO. */
  readonly helo: string
  /** The account that the client authenticated as, or ''. */
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
  /** Haraka's answer, if the plugin only observes; '' if the client did not wait for it. */
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
  /** What is wrong, if the reply does not say it. */
  problem?: string
}

export interface AcceptanceLine extends Line {
  path: Accepted['path']
  /** Next hops in the order in which they are tried: `mx` for the domain's MX hosts, '' for queue plugins. */
  hop: string
  /** The outgoing address; '' if it is the recipient's own. */
  leaves_as: string
}

// Fields are added to the existing object, because copying it takes longer than everything else.

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

/** @param leavesAs the outgoing address */
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

// The line in the log for each recipient: for a refused one as Q193922 has it in its last paragraph, for an
// accepted one with the way that it goes.
import type { Accepted, Reply } from '../routing/decide'
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
  readonly reply: string
  /** What is wrong, where the reply does not say it. */
  readonly problem?: string
}

export interface AcceptanceLine extends Line {
  readonly path: Accepted['path']
  /** Next hops in the order in which they are tried: `mx` for the domain's MX hosts, '' for queue plugins. */
  readonly hop: string
  /** The address by which it leaves; '' for the recipient itself. */
  readonly leaves_as: string
}

// Field by field, here and below: to spread one object over another takes longer than the decision.
export function lineOf(
  from: Sender,
  recipient: string,
  rule: string,
  reply: string,
  problem?: string,
): RefusalLine {
  const { ip, rdns, helo, account, sender, to, local_ip, local_port } = visibly(from, recipient)
  const line = { ip, rdns, helo, account, sender, recipient: to, local_ip, local_port, rule, reply }
  return problem === undefined ? line : { ...line, problem: visible(problem) }
}

/** @param leavesAs the address by which it leaves */
export function acceptanceOf(
  from: Sender,
  recipient: string,
  { rule, path, hops }: Accepted,
  leavesAs: string,
): AcceptanceLine {
  const { ip, rdns, helo, account, sender, to, local_ip, local_port } = visibly(from, recipient)
  const hop = hops.map(({ text }) => text).join(',') || (path === 'outbound' ? 'mx' : '')
  const leaves_as = leavesAs === recipient ? '' : visible(leavesAs)
  return {
    ip,
    rdns,
    helo,
    account,
    sender,
    recipient: to,
    local_ip,
    local_port,
    rule,
    path,
    hop,
    leaves_as,
  }
}

function visibly({ client, host, helo, account, sender, listener }: Sender, recipient: string) {
  const colon = listener.lastIndexOf(':')
  return {
    ip: client,
    rdns: visible(host),
    helo: visible(helo),
    account: visible(account),
    sender: visible(sender),
    to: visible(recipient),
    local_ip: listener.slice(0, colon),
    local_port: listener.slice(colon + 1),
  }
}

// The line in the log for each refused recipient (Q193922, last paragraph).
import type { Reply } from '../routing/decide'
import { visible } from './visible'

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
export function replyText({ code, status: [subject, detail], text }: Reply): string {
  return `${code} ${Math.floor(code / 100)}.${subject}.${detail} ${text}`
}

/** In the order in which a line in the log names them. */
export function lineOf(from: Sender, recipient: string, rule: string, reply: string): Refusal {
  const { listener, ...before } = visibleSender(from)
  return { ...before, recipient: visible(recipient), listener, rule, reply }
}

const visibleSender = ({ client, host, helo, account, sender, listener }: Sender): Sender => ({
  client,
  host: visible(host),
  helo: visible(helo),
  account: visible(account),
  sender: visible(sender),
  listener,
})

/**
 * The refusals of one transaction as Haraka's logger writes fields in its plain format, quoted where
 * they must be. What stays the same from recipient to recipient is put together once.
 */
export class RefusalFields {
  readonly sender: Sender
  readonly #before: string
  readonly #listener: string
  #rule = ''
  #reply = ''
  #after = ''

  /** @param heading what each line begins with */
  constructor(from: Sender, heading = '') {
    const { client, listener, host, helo, account, sender } = visibleSender(from)
    this.sender = from
    // Joined, since the pieces of a sum are put together anew for every line that it is part of.
    this.#before = [
      ...[heading, 'client=', quoted(client), ' host=', quoted(host), ' helo=', quoted(helo)],
      ...[' account=', quoted(account), ' sender=', quoted(sender), ' recipient='],
    ].join('')
    this.#listener = ` listener=${quoted(listener)} rule=`
  }

  /**
   * Adds the whole line, which is not put together before all lines are.
   * @param recipient as it is to stand there
   */
  addTo(pieces: string[], recipient: string, rule: string, reply: string): void {
    if (rule !== this.#rule || reply !== this.#reply) {
      this.#rule = rule
      this.#reply = reply
      this.#after = [this.#listener, quoted(rule), ' reply=', quoted(reply)].join('')
    }
    pieces.push(this.#before, recipient, this.#after)
  }
}

export function quoted(value: string): string {
  if (!/^$|[ ="\\\r\n]/.test(value)) return value
  return `"${value.replace(/["\\]/g, '\\$&').replace(/\r/g, '\\r').replace(/\n/g, '\\n')}"`
}

/** Visible, and nothing to quote: two regular expressions take longer, and nearly all addresses are so. */
export function isWord(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code <= 0x20 || code >= 0x7f || code === 0x3d || code === 0x22 || code === 0x5c)
      return false
  }
  return value.length > 0
}

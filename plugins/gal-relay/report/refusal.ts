// The line in the log for each refused recipient (Q193922, last paragraph).
import type { Refused, Reply } from '../routing/decide'
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

/** `5.7.1 Relaying is prohibited`; joined, it is of one piece. */
export function textAfterCode({ code, status, text }: Reply): string {
  return [[Math.floor(code / 100), ...status].join('.'), text].join(' ')
}

/** In the order in which a line in the log names them. */
export function lineOf(from: Sender, recipient: string, rule: string, reply: string): Refusal {
  const { client, host, helo, account, sender, listener } = from
  return {
    client,
    host: visible(host),
    helo: visible(helo),
    account: visible(account),
    sender: visible(sender),
    recipient: visible(recipient),
    listener,
    rule,
    reply,
  }
}

/** Refused one after the other in one transaction, for the same reason, and not told yet. */
export interface WaitingRefusals {
  readonly from: RefusalFields
  /** The name of its policy. */
  readonly listener: string
  readonly verdict: Refused
  /** Their lines are written here. */
  readonly isLogged: boolean
  readonly recipients: string[]
}

/**
 * The refusals of one transaction as Haraka's logger writes fields in its plain format, quoted where
 * they must be. What stays the same from recipient to recipient is put together once.
 */
export class RefusalFields {
  readonly sender: Sender
  readonly #heading: string
  #before: string | undefined
  #rule = ''
  #reply = ''
  #after = ''
  /** The last ones. */
  waiting: WaitingRefusals | undefined

  /** @param heading what each line begins with */
  constructor(from: Sender, heading = '') {
    this.sender = from
    this.#heading = heading
  }

  /**
   * Puts the pieces of the lines at the end of others, to be joined all at once.
   *
   * @param end what stands between two lines
   */
  addLines(
    pieces: string[],
    recipients: readonly string[],
    rule: string,
    reply: string,
    end: string,
  ): void {
    this.#before ??= beforeRecipient(this.#heading, this.sender)
    if (rule !== this.#rule || reply !== this.#reply) {
      this.#rule = rule
      this.#reply = reply
      this.#after = afterRecipient(this.sender, rule, reply)
    }
    // Looked at all at once: one by one it takes twice as long.
    const areWords = isWord(recipients.join('')) && !recipients.includes('')
    for (const recipient of recipients) {
      if (pieces.length > 0) pieces.push(end)
      pieces.push(this.#before, areWords ? recipient : asField(recipient), this.#after)
    }
  }
}

// Joined, since the pieces of a sum are put together anew for every line that it is part of.
function beforeRecipient(heading: string, from: Sender): string {
  const { client, host, helo, account, sender } = from
  return [
    ...[heading, 'client=', asField(client), ' host=', asField(host), ' helo=', asField(helo)],
    ...[' account=', asField(account), ' sender=', asField(sender), ' recipient='],
  ].join('')
}

function afterRecipient({ listener }: Sender, rule: string, reply: string): string {
  return [' listener=', quoted(listener), ' rule=', rule, ' reply=', quoted(reply)].join('')
}

/** As a value that a stranger sent stands in a line of the log. */
function asField(value: string): string {
  return isWord(value) ? value : quoted(visible(value))
}

const WORD = /^[!#-<>-[\]-~]+$/

/** Visible, and nothing to quote: nearly all values are so. */
function isWord(value: string): boolean {
  return WORD.test(value)
}

function quoted(value: string): string {
  if (!/^$|[ ="\\\r\n]/.test(value)) return value
  return `"${value.replace(/["\\]/g, '\\$&').replace(/\r/g, '\\r').replace(/\n/g, '\\n')}"`
}

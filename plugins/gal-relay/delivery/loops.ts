// Mail that comes round again. Our Received line says, for us alone to read, for which recipients we
// took this copy, from which sender and on which listener; when it comes there again from the same
// sender for one of them, it is in a loop. A list that a recipient is on sends in its own name, and a
// filter gives messages back to another listener. The line is keyed, so that nobody can have another's
// mail refused with a made-up one; it tells neither who the recipients are nor, but for the next
// sixteen, how many.
import { createHmac, randomBytes, randomInt } from 'node:crypto'

/** Workers inherit their master's environment, and so all read each other's traces. */
const KEY = 'GAL_RELAY_TRACE_KEY'

const SALT = 9
const SLOT = 6
const SLOTS = 16

// Directly before the date: a client may have put anything into the sender's address before it.
const TRACE = /\(gal-relay ([\w\s-]+)\)(?=;[^;]*$)/

/** How a message comes in. */
export interface Pass {
  /** `10.0.0.5:25` */
  readonly listener: string
  /** '' for the null sender. */
  readonly sender: string
}

export class Traces {
  private readonly key: Buffer

  constructor(env: NodeJS.ProcessEnv = process.env) {
    env[KEY] ??= randomBytes(32).toString('base64')
    this.key = Buffer.from(env[KEY], 'base64')
  }

  /**
   * @param line Haraka's Received line, without its name
   * @returns the line with the trace of a message that was accepted for these recipients
   */
  into(line: string, pass: Pass, addresses: readonly string[]): string {
    const end = line.lastIndexOf(';')
    return `${line.slice(0, end)}\r\n\t(gal-relay ${this.of(pass, addresses)})${line.slice(end)}`
  }

  /** The next copy of the message is for these recipients only, and so is its trace. */
  narrow({ header, uuid }: Haraka.Transaction, pass: Pass, addresses: readonly string[]): void {
    const lines = header.header_list
    const index = lines.findIndex((line) => line.includes(uuid) && TRACE.test(line))
    const line = lines[index]
    if (line) lines[index] = line.replace(TRACE, `(gal-relay ${this.of(pass, addresses)})`)
  }

  /**
   * @param received the values of a message's Received lines
   * @returns one of the addresses that the message has come in the same way for before
   */
  cameFor(
    received: readonly string[],
    pass: Pass,
    addresses: readonly string[],
  ): string | undefined {
    if (addresses.length === 0) return undefined
    for (const line of received) {
      const [, trace] = TRACE.exec(line) ?? []
      if (!trace) continue
      const bytes = Buffer.from(trace.replace(/\s/g, ''), 'base64url')
      const salt = bytes.subarray(0, SALT)
      const slots = bytes.subarray(SALT)
      const wanted = new Map(
        addresses.map((address) => [numberIn(this.slot(salt, pass, address)), address]),
      )
      // A stranger may have made it up, as long as a message may be, for the time that reading it takes.
      for (let at = 0; at + SLOT <= slots.length; at += SLOT) {
        const known = wanted.get(numberIn(slots, at))
        if (known !== undefined) return known
      }
    }
    return undefined
  }

  private of(pass: Pass, addresses: readonly string[]): string {
    const salt = randomBytes(SALT)
    const slots = addresses.map((address) => this.slot(salt, pass, address))
    while (slots.length % SLOTS !== 0) {
      slots.splice(randomInt(slots.length + 1), 0, randomBytes(SLOT))
    }
    const text = Buffer.concat([salt, ...slots]).toString('base64url')
    return (text.match(/.{1,72}/g) ?? []).join('\r\n\t')
  }

  private slot(salt: Buffer, { listener, sender }: Pass, address: string): Buffer {
    const hmac = createHmac('sha256', this.key).update(salt)
    const text = `${listener}\n${sender}\n${address}`.toLowerCase()
    return hmac.update(text).digest().subarray(0, SLOT)
  }
}

const numberIn = (slots: Buffer, at = 0): number => slots.readUIntBE(at, SLOT)

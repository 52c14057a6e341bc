// Mail that comes round again. Our Received line says, for us alone to read, to which recipients we
// took the message and on which listener; when it comes there again for one of them, it is in a loop.
// What it says is keyed, so that nobody can have another's mail refused with a made-up line; it tells
// neither who the recipients are nor, but for the next sixteen, how many.
import { createHmac, randomBytes, randomInt } from 'node:crypto'

/** Workers inherit their master's environment, and so all read each other's traces. */
const KEY = 'GAL_RELAY_TRACE_KEY'

const SALT = 9
const SLOT = 6
const SLOTS = 16

export class Traces {
  private readonly key: Buffer

  constructor(env: NodeJS.ProcessEnv = process.env) {
    env[KEY] ??= randomBytes(32).toString('base64')
    this.key = Buffer.from(env[KEY], 'base64')
  }

  /**
   * @param line Haraka's Received line, without its name
   * @returns the line with the trace of a message that these recipients were accepted for
   */
  into(line: string, listener: string, addresses: readonly string[]): string {
    const trace = this.of(listener, addresses)
    const end = line.lastIndexOf(';')
    return `${line.slice(0, end)}\r\n\t(gal-relay ${trace})${line.slice(end)}`
  }

  private of(listener: string, addresses: readonly string[]): string {
    const salt = randomBytes(SALT)
    const slots = addresses.map((address) => this.slot(salt, listener, address))
    while (slots.length % SLOTS !== 0)
      slots.splice(randomInt(slots.length + 1), 0, randomBytes(SLOT))
    const text = Buffer.concat([salt, ...slots]).toString('base64url')
    return (text.match(/.{1,72}/g) ?? []).join('\r\n\t')
  }

  /**
   * @param received the values of a message's Received lines
   * @returns the first of the addresses that the message has come to this listener for before
   */
  cameFor(
    received: readonly string[],
    listener: string,
    addresses: readonly string[],
  ): string | undefined {
    for (const line of received) {
      const [, trace] = /\(gal-relay ([\w\s-]+)\)/.exec(line) ?? []
      if (!trace) continue
      const bytes = Buffer.from(trace.replace(/\s/g, ''), 'base64url')
      const salt = bytes.subarray(0, SALT)
      const slots = bytes.subarray(SALT)
      const known = addresses.find((address) => holds(slots, this.slot(salt, listener, address)))
      if (known !== undefined) return known
    }
    return undefined
  }

  private slot(salt: Buffer, listener: string, address: string): Buffer {
    const hmac = createHmac('sha256', this.key).update(salt)
    return hmac.update(`${listener} ${address.toLowerCase()}`).digest().subarray(0, SLOT)
  }
}

function holds(slots: Buffer, slot: Buffer): boolean {
  for (let at = 0; at + SLOT <= slots.length; at += SLOT) {
    if (slots.subarray(at, at + SLOT).equals(slot)) return true
  }
  return false
}

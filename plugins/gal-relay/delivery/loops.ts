// Mail that comes round again. Each message that leaves by the outbound queue carries a header that
// says, for us alone to read, to which recipients we passed it on; when it comes back for one of
// them, it is in a loop. The header is keyed, so that nobody can have another's mail refused with a
// made-up one; it tells neither who the recipients are nor, but for the next sixteen, how many.
import { createHmac, randomBytes, randomInt } from 'node:crypto'

export const TRACE = 'X-Gal-Relay-Trace'

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

  /** @returns the header's value for a message that leaves to these addresses */
  of(addresses: readonly string[]): string {
    const salt = randomBytes(SALT)
    const slots = addresses.map((address) => this.slot(salt, address))
    while (slots.length % SLOTS !== 0)
      slots.splice(randomInt(slots.length + 1), 0, randomBytes(SLOT))
    const text = Buffer.concat([salt, ...slots]).toString('base64url')
    return (text.match(/.{1,72}/g) ?? []).join('\r\n\t')
  }

  /**
   * @param traces the values of all such headers of a message
   * @returns the first of the addresses that the message was passed on to before
   */
  passedOn(traces: readonly string[], addresses: readonly string[]): string | undefined {
    for (const trace of traces) {
      const bytes = Buffer.from(trace.replace(/\s/g, ''), 'base64url')
      const salt = bytes.subarray(0, SALT)
      const slots = bytes.subarray(SALT)
      const known = addresses.find((address) => holds(slots, this.slot(salt, address)))
      if (known !== undefined) return known
    }
    return undefined
  }

  private slot(salt: Buffer, address: string): Buffer {
    const hmac = createHmac('sha256', this.key).update(salt)
    return hmac.update(address.toLowerCase()).digest().subarray(0, SLOT)
  }
}

function holds(slots: Buffer, slot: Buffer): boolean {
  for (let at = 0; at + SLOT <= slots.length; at += SLOT) {
    if (slots.subarray(at, at + SLOT).equals(slot)) return true
  }
  return false
}

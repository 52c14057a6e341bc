// What the snapshot keeps of an address instead of the address: 63 bits of SipHash-2-4 under a secret
// random key, and one bit for "authenticated senders only". Nobody can tell from outside which
// addresses collide, and without the key a hash says nothing about its address. (With it, an address
// that somebody guesses can be confirmed: docs/snapshot.md.)
//
// A hash is two 32-bit words: `hi` is its upper half; `lo` the lower, whose lowest bit is the flag.
import { randomBytes } from 'node:crypto'
import siphash24 from 'siphash24'
import type { Recipient } from '../../routing/recipient'
import { recipientKey } from '../address-key'

export const KEY_BYTES = 16

/** The bit of `lo` that is not hash: the recipient takes mail from authenticated senders only. */
export const AUTHENTICATED_ONLY = 1

const utf8 = new TextEncoder()

export function newKey(): Buffer {
  return randomBytes(KEY_BYTES)
}

/** Hashes without making garbage: the last result stands in `hi` and `lo`, its flag cleared. */
export class Hasher {
  hi = 0
  lo = 0
  readonly #key: Uint8Array
  readonly #out = new Uint8Array(8)
  readonly #words = new Uint32Array(this.#out.buffer)
  readonly #text = new Uint8Array(2048)
  /** The beginnings of `#text`, by their length, once each has been needed. */
  readonly #beginnings: Uint8Array[] = []

  /** @param key 16 secret bytes */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new Error(`a key has ${KEY_BYTES} bytes`)
    this.#key = key
  }

  /** @param address in its normal form, see address-key.ts */
  address(address: string): this {
    const end = this.#put(address, 0)
    return end < 0 ? this.bytes(utf8.encode(address)) : this.#beginning(end)
  }

  /** The address of a recipient in its normal form, which is made only when it takes more than lower case. */
  recipient(recipient: Recipient): this {
    const { local, domain } = recipient
    const at = this.#put(local, 0)
    const end = at < 0 || domain === '' ? at : this.#put(domain, this.#put('@', at))
    return end < 0 ? this.address(recipientKey(recipient)) : this.#beginning(end)
  }

  /** @returns where the text ends; -1 when it is not ASCII, or has no room */
  #put(text: string, at: number): number {
    const bytes = this.#text
    if (at < 0 || at + text.length > bytes.length) return -1
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) return -1
      bytes[at + i] = code >= 0x41 && code <= 0x5a ? code | 0x20 : code
    }
    return at + text.length
  }

  #beginning(end: number): this {
    this.#beginnings[end] ??= this.#text.subarray(0, end)
    return this.bytes(this.#beginnings[end])
  }

  bytes(data: Uint8Array): this {
    siphash24(data, this.#key, this.#out, true)
    this.hi = this.#words[1] as number
    this.lo = ((this.#words[0] as number) & ~AUTHENTICATED_ONLY) >>> 0
    // Zero marks an empty slot. That one hash of 2⁶³ is shared by two values changes no probability.
    if (this.hi === 0 && this.lo === 0) this.lo = 2
    return this
  }
}

// What the snapshot keeps of an address instead of the address: 63 bits of SipHash-2-4 under a secret
// random key, and one bit for "authenticated senders only". Nobody can tell from outside which
// addresses collide, and without the key a hash says nothing about its address. (With it, an address
// that somebody guesses can be confirmed: docs/snapshot.md.)
//
// A hash is two 32-bit words: `hi` is its upper half; `lo` the lower, whose lowest bit is the flag.
import { randomBytes } from 'node:crypto'
import instantiate from 'siphash24/siphash24.js'
import { isPlainAscii, type Recipient } from '../../routing/recipient'
import { recipientKey } from '../address-key'

export const KEY_BYTES = 16

/** The bit of `lo` that is not hash: the recipient takes mail from authenticated senders only. */
export const AUTHENTICATED_ONLY = 1

const utf8 = new TextEncoder()
/** Characters of a local part or a domain that are hashed as they are. */
const LONGEST = 2048

// The library's own function copies key, text and hash into and out of the memory of its WebAssembly,
// which takes several times as long as the hash. Here the text is written where it is hashed.
const { memory, siphash } = instantiate()
const KEY_AT = 8
const TEXT_AT = 24
const bytes = Buffer.from(memory.buffer)
const words = new Uint32Array(memory.buffer, 0, 2)
/** Whose key is in the memory. */
let keyOwner: Hasher | undefined

export function newKey(): Buffer {
  return randomBytes(KEY_BYTES)
}

/** Hashes without making garbage: the last result is in `hi` and `lo`, its flag cleared. */
export class Hasher {
  hi = 0
  lo = 0
  readonly #key: Uint8Array

  /** @param key 16 secret bytes */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new Error(`a key has ${KEY_BYTES} bytes`)
    this.#key = key
  }

  /** @param address in its normal form, see address-key.ts */
  address(address: string): this {
    const end = put(address, TEXT_AT)
    return end < 0 ? this.bytes(utf8.encode(address)) : this.#hash(end)
  }

  /** The address of a recipient in its normal form, which is made only when it takes more than lower case. */
  recipient(recipient: Recipient): this {
    const { plainLocal, domain } = recipient
    let end = put(plainLocal, TEXT_AT)
    if (end >= 0 && domain !== '') {
      bytes[end] = 0x40
      end = put(domain, end + 1)
    }
    return end < 0 ? this.address(recipientKey(recipient)) : this.#hash(end)
  }

  bytes(data: Uint8Array): this {
    // No command of SMTP has room for what is longer.
    const hashed = data.subarray(0, bytes.length - TEXT_AT)
    bytes.set(hashed, TEXT_AT)
    return this.#hash(TEXT_AT + hashed.length)
  }

  #hash(end: number): this {
    if (keyOwner !== this) {
      keyOwner = this
      bytes.set(this.#key, KEY_AT)
    }
    siphash(TEXT_AT, end - TEXT_AT)
    this.hi = words[1] as number
    this.lo = ((words[0] as number) & ~AUTHENTICATED_ONLY) >>> 0
    // Zero marks an empty slot. That one hash of 2⁶³ is shared by two values changes no probability.
    if (this.hi === 0 && this.lo === 0) this.lo = 2
    return this
  }
}

/** @returns where the text ends, in lower case; -1 when it is not ASCII, or has no room */
function put(text: string, at: number): number {
  if (text.length > LONGEST || !isPlainAscii(text)) return -1
  return at + bytes.write(text.toLowerCase(), at, 'latin1')
}

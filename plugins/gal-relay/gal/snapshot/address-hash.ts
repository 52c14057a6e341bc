// Instead of an address, the snapshot keeps a hash of it: 63 bits of SipHash-2-4 under a secret
// random key, and one bit for "authenticated senders only". Nobody can tell from outside which
// addresses collide, and without the key a hash says nothing about its address. (With the key, a
// guessed address can be confirmed: docs/snapshot.md.)
//
// A hash is two 32-bit words: `hi` is the upper half, `lo` the lower. The flag is the lowest bit of
// `lo`.
import { randomBytes } from 'node:crypto'
import instantiate from 'siphash24/siphash24.js'
import { isPlainAscii, type Recipient } from '../../routing/recipient'
import { recipientKey } from '../address-key'

export const KEY_BYTES = 16

/** The flag in `lo`: the recipient accepts mail from authenticated senders only. */
export const AUTHENTICATED_ONLY = 1

const utf8 = new TextEncoder()
/** The longest local part or domain that is hashed without encoding it first, in characters. */
const LONGEST = 2048

// The library's own function copies key, text and hash into and out of its WebAssembly memory,
// which takes several times as long as hashing. Here the text is written directly into that memory.
const { memory, siphash } = instantiate()
const KEY_AT = 8
const TEXT_AT = 24
const bytes = Buffer.from(memory.buffer)
const words = new Uint32Array(memory.buffer, 0, 2)
/** The hasher whose key is in the WebAssembly memory. */
let keyOwner: Hasher | undefined

export function newKey(): Buffer {
  return randomBytes(KEY_BYTES)
}

/** Hashes without allocating: `hi` and `lo` hold the last result, with the flag cleared. */
export class Hasher {
  hi = 0
  lo = 0
  readonly #key: Uint8Array

  /** @param key 16 secret bytes */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new Error(`a key has ${KEY_BYTES} bytes`)
    this.#key = key
  }

  /** @param address in its normal form (address-key.ts) */
  address(address: string): this {
    const end = put(address, TEXT_AT)
    return end < 0 ? this.bytes(utf8.encode(address)) : this.#hash(end)
  }

  /**
   * Hashes the address of a recipient in its normal form. That form is computed only if lower case
   * is not enough.
   */
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
    // Anything longer does not fit in an SMTP command.
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
    // Zero marks an empty slot. That two values share one of 2⁶³ hashes changes no probability.
    if (this.hi === 0 && this.lo === 0) this.lo = 2
    return this
  }
}

/**
 * Writes the text in lower case.
 * @returns where it ends; -1 if it is not ASCII, or is too long
 */
function put(text: string, at: number): number {
  if (text.length > LONGEST || !isPlainAscii(text)) return -1
  return at + bytes.write(text.toLowerCase(), at, 'latin1')
}

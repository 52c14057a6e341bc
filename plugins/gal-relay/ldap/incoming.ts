// Takes LDAP messages out of the bytes of a connection, in whatever parts they come: each byte is copied
// a few times at most, and a message that nobody wants is passed over without being kept.
import { BerReader, MalformedBer, messageLength, TAG } from './ber'

/** Bytes up to which a message is simply read. */
const SMALL = 65_536

/** Whether a large message is to be read. @param id its number */
export type IsWanted = (id: number, length: number) => boolean

export class Incoming {
  /** Behind the first `#length` bytes there may be room for more. */
  #store: Buffer = Buffer.alloc(0)
  #length = 0
  /** Of the message that is being passed over. */
  #toSkip = 0

  /** No message has begun that has not come to its end. */
  get isEmpty(): boolean {
    return this.#length === 0 && this.#toSkip === 0
  }

  /**
   * The whole messages that there are with this chunk.
   * @throws MalformedBer
   */
  *messages(chunk: Buffer, isWanted: IsWanted): Generator<BerReader, void, undefined> {
    const skipped = Math.min(this.#toSkip, chunk.length)
    this.#toSkip -= skipped
    const bytes = this.#with(skipped > 0 ? chunk.subarray(skipped) : chunk)
    let at = 0
    for (;;) {
      const length = messageLength(bytes, at)
      if (length === 0) break
      if (length <= bytes.length - at) {
        at += length
        yield new BerReader(bytes, at - length, at)
        continue
      }
      const id = length > SMALL ? messageId(bytes, at) : undefined
      if (id !== undefined && !isWanted(id, length)) {
        this.#toSkip = length - (bytes.length - at)
        at = bytes.length
      }
      break
    }
    this.#keep(bytes, at)
  }

  #with(chunk: Buffer): Buffer {
    if (this.#length === 0) return chunk
    const length = this.#length + chunk.length
    if (length > this.#store.length) {
      const larger = Buffer.allocUnsafe(2 * length)
      this.#store.copy(larger, 0, 0, this.#length)
      this.#store = larger
    }
    chunk.copy(this.#store, this.#length)
    this.#length = length
    return this.#store.subarray(0, length)
  }

  /** Values that were read lie in the same memory: only what has not come to its end is added to. */
  #keep(bytes: Buffer, at: number): void {
    if (at === 0 && this.#length > 0) return
    this.#store = bytes.subarray(at)
    this.#length = this.#store.length
  }
}

/** @returns undefined when too little has come to tell */
function messageId(bytes: Buffer, at: number): number | undefined {
  const first = bytes[at + 1] ?? 0
  const start = at + 2 + (first < 0x80 ? 0 : first & 0x7f)
  // A number of 31 bits with its tag and length.
  if (bytes.length < start + 6) return undefined
  try {
    return new BerReader(bytes, start, bytes.length).expect(TAG.integer).number()
  } catch {
    throw new MalformedBer('a message without an ID')
  }
}

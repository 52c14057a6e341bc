// Extracts LDAP messages from the bytes of a connection, however these are split. Each byte is
// copied a few times at most, and an unwanted message is skipped without being stored.
import { BerReader, MalformedBer, messageLength, TAG } from './ber'

/** Messages of up to this many bytes are always read. */
const SMALL = 65_536

/** Whether to read a large message. @param id its message ID */
export type IsWanted = (id: number, length: number) => boolean

const EMPTY: Buffer = Buffer.alloc(0)

export class Incoming {
  /** Only the first `#length` bytes are used; there may be room for more after them. */
  #store = EMPTY
  #length = 0
  /** Bytes left of the message that is being skipped. */
  #toSkip = 0

  /** Whether no incomplete message is pending. */
  get isEmpty(): boolean {
    return this.#length === 0 && this.#toSkip === 0
  }

  /**
   * Yields the messages that are complete with this chunk.
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

  /** Values already read share this memory, so only the incomplete message is kept and added to. */
  #keep(bytes: Buffer, at: number): void {
    if (at === 0 && this.#length > 0) return
    // An empty part would hold the memory of the last chunk for as long as the connection is idle.
    this.#store = at < bytes.length ? bytes.subarray(at) : EMPTY
    this.#length = this.#store.length
  }
}

/** @returns `undefined` if too few bytes have arrived to tell */
function messageId(bytes: Buffer, at: number): number | undefined {
  const first = bytes[at + 1] ?? 0
  const start = at + 2 + (first < 0x80 ? 0 : first & 0x7f)
  // Tag, length and up to four bytes: an ID has 31 bits.
  if (bytes.length < start + 6) return undefined
  try {
    return new BerReader(bytes, start, bytes.length).expect(TAG.integer).number()
  } catch {
    throw new MalformedBer('a message without an ID')
  }
}

// Which entry holds which addresses. A changed or deleted entry takes the right ones with it. Only
// the process that reads the directory keeps this: for each pair of entry and address, both as
// hashes, 16 bytes, and 4 more if the directory says where mail goes. At most three quarters of the
// slots are taken.
//
// The table uses linear probing. An entry's pairs lie between its home and the next empty slot, in
// no order.
import { AUTHENTICATED_ONLY } from './address-hash'

/** A hash: upper half, and lower half with its flag. */
export type Hash = readonly [hi: number, lo: number]

/** An address of an entry, and what the entry says about its mailbox (mailbox-numbers.ts). */
export type Held = readonly [hi: number, lo: number, mailbox: number]

const FULL = 0.75

export class Holdings {
  #slots: Uint32Array
  #mailboxes: Uint32Array | undefined
  #capacity: number
  #count = 0

  /**
   * @param expected how many pairs will be added
   * @param withMailboxes whether to keep what entries say about their mailboxes
   */
  constructor(expected = 0, withMailboxes = false) {
    this.#capacity = Math.max(64, Math.ceil(expected / FULL))
    this.#slots = new Uint32Array(this.#capacity * 4)
    this.#mailboxes = withMailboxes ? new Uint32Array(this.#capacity) : undefined
  }

  /**
   * Adds a pair. If it is there already, it gets the new flag and number.
   * @returns the pair's previous number; `undefined` if the pair is new
   */
  add(entry: Hash, [hi, lo, mailbox = 0]: Hash | Held): number | undefined {
    if (this.#count >= this.#capacity * FULL) this.#grow()
    const [entryHi, entryLo] = entry
    const slots = this.#slots
    let at = this.#home(entryHi)
    for (; !this.#isEmpty(at); at = this.#next(at)) {
      if (this.#isOf(at, entryHi, entryLo) && slots[at * 4 + 2] === hi) {
        if (((slots[at * 4 + 3] as number) ^ lo) >>> 1 === 0) {
          const before = this.#mailboxes?.[at] ?? 0
          slots[at * 4 + 3] = lo
          if (this.#mailboxes) this.#mailboxes[at] = mailbox
          return before
        }
      }
    }
    slots[at * 4] = entryHi
    slots[at * 4 + 1] = entryLo
    slots[at * 4 + 2] = hi
    slots[at * 4 + 3] = lo
    if (this.#mailboxes) this.#mailboxes[at] = mailbox
    this.#count++
    return undefined
  }

  /** @returns the addresses that an entry holds */
  of([entryHi, entryLo]: Hash): Held[] {
    const held: Held[] = []
    for (let at = this.#home(entryHi); !this.#isEmpty(at); at = this.#next(at)) {
      if (!this.#isOf(at, entryHi, entryLo)) continue
      held.push(this.#held(at))
    }
    return held
  }

  remove([entryHi, entryLo]: Hash, [hi, lo]: Hash | Held): void {
    const slots = this.#slots
    for (let at = this.#home(entryHi); !this.#isEmpty(at); at = this.#next(at)) {
      if (!this.#isOf(at, entryHi, entryLo) || slots[at * 4 + 2] !== hi) continue
      if (((slots[at * 4 + 3] as number) ^ lo) >>> 1 !== 0) continue
      this.#vacate(at)
      this.#count--
      return
    }
  }

  /** @returns all address hashes, once for each holder, as 64-bit words to be sorted */
  addresses(hiWord: number, loWord: number): BigUint64Array {
    const words = new Uint32Array(this.#count * 2)
    let next = 0
    for (let at = 0; at < this.#capacity; at++) {
      if (this.#isEmpty(at)) continue
      words[next + hiWord] = this.#slots[at * 4 + 2] as number
      words[next + loWord] = this.#slots[at * 4 + 3] as number
      next += 2
    }
    return new BigUint64Array(words.buffer)
  }

  /** Yields all addresses, once for each entry that holds them. */
  *held(): Generator<Held> {
    for (let at = 0; at < this.#capacity; at++) if (!this.#isEmpty(at)) yield this.#held(at)
  }

  /** Yields the hashes of entries, each once for every address that the entry holds. */
  *entries(): Generator<Hash> {
    for (let at = 0; at < this.#capacity; at++) {
      if (this.#isEmpty(at)) continue
      yield [this.#slots[at * 4] as number, this.#slots[at * 4 + 1] as number]
    }
  }

  /** Empties a slot and moves back pairs that would no longer be found (Knuth 6.4, algorithm R). */
  #vacate(gap: number): void {
    const slots = this.#slots
    for (let at = this.#next(gap); !this.#isEmpty(at); at = this.#next(at)) {
      const home = this.#home(slots[at * 4] as number)
      const staysFindable = gap <= at ? gap < home && home <= at : gap < home || home <= at
      if (staysFindable) continue
      slots.copyWithin(gap * 4, at * 4, at * 4 + 4)
      this.#mailboxes?.copyWithin(gap, at, at + 1)
      gap = at
    }
    slots.fill(0, gap * 4, gap * 4 + 4)
  }

  #grow(): void {
    const old = this.#slots
    const mailboxes = this.#mailboxes
    this.#capacity *= 2
    this.#slots = new Uint32Array(this.#capacity * 4)
    this.#mailboxes = mailboxes && new Uint32Array(this.#capacity)
    this.#count = 0
    for (let at = 0; at < old.length; at += 4) {
      const [entryHi, entryLo, hi, lo] = old.subarray(at, at + 4) as unknown as number[]
      if (hi || (lo as number) >>> 1) {
        const mailbox = mailboxes?.[at / 4] ?? 0
        this.add([entryHi as number, entryLo as number], [hi as number, lo as number, mailbox])
      }
    }
  }

  #held(at: number): Held {
    return [
      this.#slots[at * 4 + 2] as number,
      this.#slots[at * 4 + 3] as number,
      this.#mailboxes?.[at] ?? 0,
    ]
  }

  #home(hi: number): number {
    return Math.floor((hi / 2 ** 32) * this.#capacity)
  }

  #next(at: number): number {
    return at + 1 === this.#capacity ? 0 : at + 1
  }

  #isOf(at: number, entryHi: number, entryLo: number): boolean {
    return this.#slots[at * 4] === entryHi && this.#slots[at * 4 + 1] === entryLo
  }

  /** No address hash is zero. */
  #isEmpty(at: number): boolean {
    return this.#slots[at * 4 + 2] === 0 && (this.#slots[at * 4 + 3] as number) < 2
  }
}

export const sameAddress = ([hi, lo]: Hash | Held, [otherHi, otherLo]: Hash | Held): boolean =>
  hi === otherHi && (lo ^ otherLo) >>> 1 === 0

export const isFlagged = ([, lo]: Hash | Held): boolean => (lo & AUTHENTICATED_ONLY) === 1

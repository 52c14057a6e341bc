// The complete address list in memory: hashes in one typed array, 8.5 bytes per recipient. If the
// directory says where mail goes, a second array has a number for each hash (mailbox-numbers.ts).
//
// The table uses linear probing and keeps the hashes in increasing order. A hash's home is its
// share of the capacity (hi ÷ 2³² × capacity). Each hash is at or behind its home, with no empty
// slot in between. A search ends at a larger hash or an empty slot. With 16 hashes in 17 slots it
// visits 9 slots on average, whether or not it finds the hash: nearly always one or two cache
// lines. Searches do not wrap around; behind the last home there is some room for hashes that are
// pushed past the end.
//
// How often is an unknown address taken for a known one? Its hash is as good as 63 random bits, and
// n values are taken: n ÷ (2⁶³ − 1). For n = 10,000,000 that is 1.1 × 10⁻¹², below the required
// 10⁻¹¹. An attacker who tries ten thousand addresses a second would wait three years. Since the
// key is secret (address-hash.ts), nobody can do better than try.
import { endianness } from 'node:os'
import { AUTHENTICATED_ONLY } from './address-hash'

/** The places of a hash's halves in a slot. They make slots sort as 64-bit integers. */
export const [LO, HI] = endianness() === 'LE' ? ([0, 1] as const) : ([1, 0] as const)

export const SLOT_BYTES = 8

const OVERFLOW = 16_384
/** Above this share of taken slots, searches get long and the table should be laid out anew. */
const FULL = 0.97

/** The capacity of a new table for `count` hashes: a sixteenth more, as room for additions. */
export function capacityFor(count: number): number {
  return Math.max(64, Math.ceil((count * 17) / 16))
}

/** @returns the number of slots of a table, including the room behind the last home */
export function slotsFor(capacity: number): number {
  return capacity + Math.min(capacity, OVERFLOW)
}

/** The results of `find`. */
export const NOT_IN_LIST = -1
export const IN_LIST = 0
export const IN_LIST_AUTHENTICATED_ONLY = 1

/** A number per slot: 2 bytes where mail is answered, 4 in the process that reads the directory. */
export type MailboxColumn = Uint16Array | Uint32Array

export class AddressTable {
  readonly slots: Uint32Array
  /** `undefined` if the directory is not asked where mail goes. */
  readonly mailboxes: MailboxColumn | undefined
  readonly capacity: number
  #count: number
  readonly #end: number
  readonly #scale: number

  /** @param slots `slotsFor(capacity)` slots with `count` hashes in order, as made by `layOut` */
  constructor(
    slots: Uint32Array,
    capacity: number,
    count: number,
    mailboxes?: MailboxColumn | undefined,
  ) {
    this.slots = slots
    this.mailboxes = mailboxes
    this.capacity = capacity
    this.#count = count
    this.#end = slotsFor(capacity)
    this.#scale = capacity / 2 ** 32
    if (slots.length !== this.#end * 2) throw new Error('the slots do not fit the capacity')
    if (mailboxes && mailboxes.length !== this.#end) throw new Error('nor do the mailboxes')
  }

  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count > this.capacity * FULL
  }

  /** @returns NOT_IN_LIST, IN_LIST or IN_LIST_AUTHENTICATED_ONLY */
  find(hi: number, lo: number): number {
    const at = this.#seek(hi, lo)
    return this.#holds(at, hi, lo) ? this.#lo(at) & AUTHENTICATED_ONLY : NOT_IN_LIST
  }

  /** @returns the number beside a hash; 0 if the hash is not in the table */
  mailbox(hi: number, lo: number): number {
    if (!this.mailboxes) return 0
    const at = this.#seek(hi, lo)
    return this.#holds(at, hi, lo) ? (this.mailboxes[at] as number) : 0
  }

  /** Changes the number beside a hash, if the hash is in the table. */
  setMailbox(hi: number, lo: number, mailbox: number): void {
    const at = this.#seek(hi, lo)
    if (this.mailboxes && this.#holds(at, hi, lo)) this.mailboxes[at] = mailbox
  }

  /**
   * Adds a hash. If it is there already, it gets the flag in `lo` and the number.
   * @returns false if there is no room: the table must be laid out anew
   */
  add(hi: number, lo: number, mailbox = 0): boolean {
    const { slots, mailboxes } = this
    const at = this.#seek(hi, lo)
    if (!this.#holds(at, hi, lo)) {
      let free = at
      while (free < this.#end && !this.#isEmpty(free)) free++
      if (free >= this.#end) return false
      slots.copyWithin(at * 2 + 2, at * 2, free * 2)
      mailboxes?.copyWithin(at + 1, at, free)
      this.#count++
    }
    if (mailboxes) mailboxes[at] = mailbox
    slots[at * 2 + HI] = hi
    slots[at * 2 + LO] = lo
    return true
  }

  /** @returns false if it was not there */
  remove(hi: number, lo: number): boolean {
    const { slots, mailboxes } = this
    const at = this.#seek(hi, lo)
    if (!this.#holds(at, hi, lo)) return false
    // the hashes that follow, up to the next one at its home or an empty slot, move back one slot
    let next = at + 1
    while (next < this.#end && !this.#isEmpty(next) && this.#home(this.#hi(next)) < next) next++
    slots.copyWithin(at * 2, at * 2 + 2, next * 2)
    slots[next * 2 - 2] = 0
    slots[next * 2 - 1] = 0
    mailboxes?.copyWithin(at, at + 1, next)
    if (mailboxes) mailboxes[next - 1] = 0
    this.#count--
    return true
  }

  /** Calls `take` for each hash, in order and with its flag, and the number beside it. */
  forEach(take: (hi: number, lo: number, mailbox: number) => void): void {
    for (let slot = 0; slot < this.#end; slot++) {
      if (this.#isEmpty(slot)) continue
      take(this.#hi(slot), this.#lo(slot), this.mailboxes?.[slot] ?? 0)
    }
  }

  /** Packs the hashes, in order and with their flags, into a new array. */
  packed(): BigUint64Array {
    const packed = new Uint32Array(this.#count * 2)
    let at = 0
    this.forEach((hi, lo) => {
      packed[at + HI] = hi
      packed[at + LO] = lo
      at += 2
    })
    return new BigUint64Array(packed.buffer)
  }

  /** @returns the same table with room for more */
  laidOutAnew(): AddressTable {
    const { mailboxes } = this
    if (!mailboxes) return layOut(this.packed())
    const packed = new Uint32Array(this.#count)
    let at = 0
    this.forEach((_hi, _lo, mailbox) => {
      packed[at++] = mailbox
    })
    return layOut(this.packed(), packed)
  }

  /** Finds the first slot from the home on that is empty or holds this hash or a larger one. */
  #seek(hi: number, lo: number): number {
    const { slots } = this
    const hash = (lo & ~AUTHENTICATED_ONLY) >>> 0
    let at = this.#home(hi)
    for (; at < this.#end; at++) {
      const otherHi = slots[at * 2 + HI] as number
      if (otherHi > hi) break
      const otherLo = slots[at * 2 + LO] as number
      if (otherHi === hi) {
        if ((otherLo & ~AUTHENTICATED_ONLY) >>> 0 >= hash) break
      }
      if (otherHi === 0 && otherLo === 0) break
    }
    return at
  }

  #holds(at: number, hi: number, lo: number): boolean {
    return at < this.#end && this.#hi(at) === hi && ((this.#lo(at) ^ lo) | AUTHENTICATED_ONLY) === 1
  }

  #home(hi: number): number {
    return Math.floor(hi * this.#scale)
  }

  #isEmpty(at: number): boolean {
    return this.#hi(at) === 0 && this.#lo(at) === 0
  }

  #hi(at: number): number {
    return this.slots[at * 2 + HI] as number
  }

  #lo(at: number): number {
    return this.slots[at * 2 + LO] as number
  }
}

/**
 * Creates a table.
 * @param hashes in increasing order, each once
 * @param numbers of the mailboxes, one per hash; the table's own have the same width
 */
export function layOut(hashes: BigUint64Array, numbers?: MailboxColumn): AddressTable {
  const words = new Uint32Array(hashes.buffer, hashes.byteOffset, hashes.length * 2)
  for (let capacity = capacityFor(hashes.length); ; capacity = Math.ceil(capacity * 1.2)) {
    const slots = new Uint32Array(slotsFor(capacity) * 2)
    const mailboxes = numbers && columnLike(numbers, slotsFor(capacity))
    if (fill(slots, capacity, words, mailboxes, numbers)) {
      return new AddressTable(slots, capacity, hashes.length, mailboxes)
    }
  }
}

const columnLike = (numbers: MailboxColumn, length: number): MailboxColumn =>
  numbers instanceof Uint16Array ? new Uint16Array(length) : new Uint32Array(length)

function fill(
  slots: Uint32Array,
  capacity: number,
  words: Uint32Array,
  mailboxes: MailboxColumn | undefined,
  numbers: MailboxColumn | undefined,
): boolean {
  const scale = capacity / 2 ** 32
  let free = 0
  for (let word = 0; word < words.length; word += 2) {
    const hi = words[word + HI] as number
    const at = Math.max(free, Math.floor(hi * scale))
    if (at * 2 >= slots.length) return false
    slots[at * 2 + HI] = hi
    slots[at * 2 + LO] = words[word + LO] as number
    if (mailboxes && numbers) mailboxes[at] = numbers[word / 2] as number
    free = at + 1
  }
  return true
}

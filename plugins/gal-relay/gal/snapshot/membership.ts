// The list as kept by the process that reads the directory: entries and their addresses. They
// determine the table that mail processes search, and what a changed entry adds and removes there.
// An address stays listed while any entry holds it. It is restricted to authenticated senders only
// if all its holders say so (as in the live look-up, live.ts), and it says where its mail goes only
// if they all agree.
import type { Mailbox } from '../../routing/mailbox'
import { AUTHENTICATED_ONLY, Hasher, newKey } from './address-hash'
import { type AddressTable, HI, LO, layOut } from './address-table'
import { type Hash, type Held, Holdings, isFlagged, sameAddress } from './holdings'
import { contentOf, type ListContent, type MailboxChanges, mailboxChanges } from './list-content'
import { MailboxNumbers, NO_MAILBOX } from './mailbox-numbers'

/** How many entries hold an address: those with the flag, and those without. */
interface Holders {
  flagged: number
  open: number
  /** What they say about the mailbox, and how many say so; `undefined` if that is not asked for. */
  readonly mailboxes: Map<number, number> | undefined
}

/** Additions and removals that mail processes do not know about yet, as pairs of words. */
export interface Changes {
  readonly added: Uint32Array
  readonly removed: Uint32Array
  readonly mailboxes?: MailboxChanges
}

/** How many pairs of entry and address a chunk holds while the whole directory is read. */
const CHUNK = 1 << 18

/** Collects the entries of a full sync. */
export class MembershipBuilder {
  readonly key = newKey()
  readonly #hasher = new Hasher(this.key)
  readonly #numbers: MailboxNumbers | undefined
  /** Words per pair. */
  readonly #width: number
  readonly #chunks: Uint32Array[] = []
  #used = CHUNK
  #pairs = 0

  /** @param withMailboxes whether the directory is asked where mail goes */
  constructor(withMailboxes = false) {
    this.#numbers = withMailboxes ? new MailboxNumbers(this.key, this.#hasher) : undefined
    this.#width = withMailboxes ? 5 : 4
  }

  /**
   * @param id what identifies the entry for its whole life
   * @param addresses in their normal form
   * @param mailbox what the entry says about its mailbox
   */
  add(
    id: Uint8Array,
    addresses: Iterable<string>,
    authenticatedOnly: boolean,
    mailbox?: Mailbox,
  ): void {
    const hasher = this.#hasher
    const { hi, lo } = hasher.bytes(id)
    const flag = authenticatedOnly ? AUTHENTICATED_ONLY : 0
    for (const address of addresses) {
      if (this.#used === CHUNK) {
        this.#chunks.push(new Uint32Array(CHUNK * this.#width))
        this.#used = 0
      }
      const chunk = this.#chunks[this.#chunks.length - 1] as Uint32Array
      const at = this.#used++ * this.#width
      if (this.#numbers) chunk[at + 4] = this.#numbers.of(mailbox, address)
      hasher.address(address)
      chunk[at] = hi
      chunk[at + 1] = lo
      chunk[at + 2] = hasher.hi
      chunk[at + 3] = hasher.lo | flag
      this.#pairs++
    }
  }

  build(): Membership {
    const numbers = this.#numbers
    const holdings = new Holdings(this.#pairs, numbers !== undefined)
    let rest = this.#pairs
    for (let chunk = this.#chunks.shift(); chunk; chunk = this.#chunks.shift()) {
      const pairs = Math.min(rest, CHUNK)
      rest -= pairs
      for (let pair = 0; pair < pairs; pair++) {
        const at = pair * this.#width
        const before = holdings.add(
          [chunk[at] as number, chunk[at + 1] as number],
          [
            chunk[at + 2] as number,
            chunk[at + 3] as number,
            numbers ? (chunk[at + 4] as number) : NO_MAILBOX,
          ],
        )
        if (before !== undefined) numbers?.release(before)
      }
    }
    return new Membership(this.key, holdings, numbers)
  }
}

export class Membership {
  readonly key: Buffer
  readonly #hasher: Hasher
  readonly #holdings: Holdings
  readonly #numbers: MailboxNumbers | undefined
  /** How many hosts mail processes know about. */
  #hostsTaken = 0
  /** The holders of addresses that several entries hold, by name. */
  readonly #shared = new Map<string, Holders>()
  #table: AddressTable
  /** Addresses that have changed in the table, by name. */
  #touched = new Map<string, Hash>()

  constructor(key: Buffer, holdings: Holdings, numbers?: MailboxNumbers) {
    this.key = key
    this.#hasher = new Hasher(key)
    this.#holdings = holdings
    this.#numbers = numbers
    const addresses = this.#withoutDuplicates(holdings.addresses(HI, LO).sort())
    this.#table = layOut(addresses, numbers && new Uint32Array(addresses.length))
    if (numbers) this.#listMailboxes(numbers)
  }

  get table(): AddressTable {
    return this.#table
  }

  get hasChanges(): boolean {
    return this.#touched.size > 0
  }

  /**
   * Replaces the addresses of an entry.
   * @param addresses in their normal form; none if there is no such entry (any more)
   * @param mailbox what the entry says about its mailbox
   */
  set(
    id: Uint8Array,
    addresses: Iterable<string>,
    authenticatedOnly: boolean,
    mailbox?: Mailbox,
  ): void {
    const entry = this.entryOf(id)
    const flag = authenticatedOnly ? AUTHENTICATED_ONLY : 0
    const now: Held[] = []
    for (const address of addresses) {
      const number = this.#numbers?.of(mailbox, address) ?? NO_MAILBOX
      const { hi, lo } = this.#hasher.address(address)
      now.push([hi, (lo | flag) >>> 0, number])
    }
    this.#replace(entry, now)
  }

  /** @returns the hash that identifies an entry */
  entryOf(id: Uint8Array): Hash {
    const { hi, lo } = this.#hasher.bytes(id)
    return [hi, lo]
  }

  /** Whether an entry holds any address. */
  holds(entry: Hash): boolean {
    return this.#holdings.of(entry).length > 0
  }

  /** Whether it holds just these addresses, in their normal form, and any at all; with this flag. */
  isAs(id: Uint8Array, addresses: ReadonlySet<string>, authenticatedOnly: boolean): boolean {
    const held = this.#holdings.of(this.entryOf(id))
    if (held.length === 0 || held.length !== addresses.size) return false
    const flag = authenticatedOnly ? AUTHENTICATED_ONLY : 0
    return [...addresses].every((address) => {
      const { hi, lo } = this.#hasher.address(address)
      const hash: Hash = [hi, (lo | flag) >>> 0]
      return held.some((one) => sameAddress(one, hash) && one[1] === hash[1])
    })
  }

  remove(entry: Hash): void {
    this.#replace(entry, [])
  }

  /** Yields every entry once for each address that it holds. */
  entries(): Generator<Hash> {
    return this.#holdings.entries()
  }

  /** @returns what changed since the last call */
  takeChanges(): Changes {
    const added: number[] = []
    const removed: number[] = []
    for (const [hi, lo] of this.#touched.values()) {
      const found = this.#table.find(hi, lo)
      if (found < 0) removed.push(hi, lo)
      else added.push(hi, ((lo & ~AUTHENTICATED_ONLY) | found) >>> 0)
    }
    this.#touched.clear()
    const changes = { added: Uint32Array.from(added), removed: Uint32Array.from(removed) }
    if (!this.#numbers) return changes
    const from = this.#hostsTaken
    this.#hostsTaken = this.#numbers.hosts.length
    return { ...changes, mailboxes: mailboxChanges(this.#table, this.#numbers, from, added) }
  }

  /** @returns a copy, because the list keeps changing */
  content(): ListContent {
    return contentOf(this.#table, this.#numbers)
  }

  /** Makes room in a table that has become too full. */
  layOutAnew(): void {
    this.#table = this.#table.laidOutAnew()
  }

  /** Lists what the holders of each address say, once all have been read. */
  #listMailboxes(numbers: MailboxNumbers): void {
    for (const [hi, lo, number] of this.#holdings.held()) {
      const holders = this.#holdersOf([hi, lo])
      if (holders?.mailboxes) countOne(holders.mailboxes, number, 1)
      else this.#table.setMailbox(hi, lo, number)
    }
    for (const [name, { mailboxes }] of this.#shared) {
      const [hi = 0, half = 0] = name.split(' ').map(Number)
      this.#table.setMailbox(hi, half * 2, numbers.combined(mailboxes?.keys() ?? []))
    }
  }

  #replace(entry: Hash, now: readonly Held[]): void {
    const before = this.#holdings.of(entry)
    for (const address of now) {
      const held = before.find((other) => sameAddress(other, address))
      if (held && held[1] === address[1] && this.#areSame(held[2], address[2])) {
        this.#numbers?.release(address[2])
        continue
      }
      if (held) this.#release(entry, held)
      if (this.#holdings.add(entry, address) === undefined) this.#hold(address)
    }
    for (const address of before) {
      if (!now.some((other) => sameAddress(other, address))) this.#release(entry, address)
    }
  }

  /** Notes that one more entry holds the address. */
  #hold(address: Held): void {
    const [hi, lo] = address
    const found = this.#table.find(hi, lo)
    if (found < 0) {
      this.#list(address)
      return
    }
    const holders = this.#holdersOf(address) ?? this.#one(hi, lo, found === AUTHENTICATED_ONLY)
    count(holders, address, 1)
    this.#shared.set(nameOf(address), holders)
    this.#listHeldBy(holders, address)
  }

  /** Notes that the entry no longer holds the address. */
  #release(entry: Hash, address: Held): void {
    const [hi, lo, number] = address
    this.#holdings.remove(entry, address)
    const holders = this.#holdersOf(address)
    if (holders) {
      count(holders, address, -1)
      if (holders.flagged + holders.open === 1) this.#shared.delete(nameOf(address))
      this.#listHeldBy(holders, address)
    } else {
      this.#table.remove(hi, lo)
      this.#touched.set(nameOf(address), [hi, lo])
    }
    this.#numbers?.release(number)
  }

  /** @returns the holders of an address that only one entry has held so far */
  #one(hi: number, lo: number, flagged: boolean): Holders {
    const mailboxes = this.#numbers && new Map([[this.#table.mailbox(hi, lo), 1]])
    return { flagged: flagged ? 1 : 0, open: flagged ? 0 : 1, mailboxes }
  }

  #holdersOf(address: Hash | Held): Holders | undefined {
    return this.#shared.size === 0 ? undefined : this.#shared.get(nameOf(address))
  }

  #listHeldBy(holders: Holders, address: Held): void {
    const [hi, lo] = combined(address, holders)
    const number = this.#numbers?.combined(holders.mailboxes?.keys() ?? []) ?? NO_MAILBOX
    const isListed =
      this.#table.find(hi, lo) === (lo & AUTHENTICATED_ONLY) &&
      this.#areSame(this.#table.mailbox(hi, lo), number)
    // What another entry says may be the same under a different number.
    if (isListed) this.#table.setMailbox(hi, lo, number)
    else this.#list([hi, lo, number])
  }

  #areSame(one: number, other: number): boolean {
    return this.#numbers?.areSame(one, other) ?? true
  }

  #list([hi, lo, number]: Held): void {
    if (!this.#table.add(hi, lo, number)) {
      this.layOutAnew()
      this.#table.add(hi, lo, number)
    }
    this.#touched.set(nameOf([hi, lo]), [hi, lo])
  }

  #withoutDuplicates(sorted: BigUint64Array): BigUint64Array {
    const words = new Uint32Array(sorted.buffer)
    const at = (index: number): Hash => [
      words[index * 2 + HI] as number,
      words[index * 2 + LO] as number,
    ]
    let kept = 0
    for (let from = 0, next = 0; from < sorted.length; from = next) {
      const first = at(from)
      const holders = { flagged: 0, open: 0 }
      for (next = from; next < sorted.length && sameAddress(at(next), first); next++) {
        countFlag(holders, isFlagged(at(next)), 1)
      }
      if (next - from > 1) {
        const mailboxes = this.#numbers && new Map<number, number>()
        this.#shared.set(nameOf(first), { ...holders, mailboxes })
      }
      const [hi, lo] = combined(first, holders)
      words[kept * 2 + HI] = hi
      words[kept * 2 + LO] = lo
      kept++
    }
    return sorted.subarray(0, kept)
  }
}

const nameOf = ([hi, lo]: Hash | Held) => `${hi} ${lo >>> 1}`

function count(holders: Holders, address: Held, by: 1 | -1): void {
  countFlag(holders, isFlagged(address), by)
  if (holders.mailboxes) countOne(holders.mailboxes, address[2], by)
}

function countOne(counts: Map<number, number>, what: number, by: 1 | -1): void {
  const now = (counts.get(what) ?? 0) + by
  if (now > 0) counts.set(what, now)
  else counts.delete(what)
}

function countFlag(holders: Pick<Holders, 'flagged' | 'open'>, flagged: boolean, by: 1 | -1): void {
  if (flagged) holders.flagged += by
  else holders.open += by
}

/** @returns the address with the flag that all its holders together give it */
function combined([hi, lo]: Hash | Held, { open }: Pick<Holders, 'open'>): Hash {
  const hash = (lo & ~AUTHENTICATED_ONLY) >>> 0
  return [hi, open === 0 ? (hash | AUTHENTICATED_ONLY) >>> 0 : hash]
}

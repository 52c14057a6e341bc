// The list as the process that reads the directory keeps it: entries and their addresses, from which
// follow the table that mail processes search, and what a change of one entry adds to it and removes
// from it. An address stays in the list as long as any entry holds it, and takes mail from
// authenticated senders only when all its holders say so (as the live look-up has it, live.ts).
import { AUTHENTICATED_ONLY, Hasher, newKey } from './address-hash'
import { type AddressTable, HI, LO, layOut } from './address-table'
import { type Hash, Holdings, isFlagged, sameAddress } from './holdings'

/** How many entries hold an address: those with the flag, and those without. */
interface Holders {
  flagged: number
  open: number
}

/** Additions and removals that mail processes have not been told of. Pairs of words. */
export interface Changes {
  readonly added: Uint32Array
  readonly removed: Uint32Array
}

/** Pairs of entry and address while the directory is read for the first time. */
const CHUNK = 1 << 18

/** Takes the entries of a full sync. */
export class MembershipBuilder {
  readonly key = newKey()
  readonly #hasher = new Hasher(this.key)
  readonly #chunks: Uint32Array[] = []
  #used = CHUNK
  #pairs = 0

  /**
   * @param id what identifies the entry for its whole life
   * @param addresses in their normal form
   */
  add(id: Uint8Array, addresses: Iterable<string>, authenticatedOnly: boolean): void {
    const hasher = this.#hasher
    const { hi, lo } = hasher.bytes(id)
    const flag = authenticatedOnly ? AUTHENTICATED_ONLY : 0
    for (const address of addresses) {
      hasher.address(address)
      if (this.#used === CHUNK) {
        this.#chunks.push(new Uint32Array(CHUNK * 4))
        this.#used = 0
      }
      const chunk = this.#chunks[this.#chunks.length - 1] as Uint32Array
      const at = this.#used++ * 4
      chunk[at] = hi
      chunk[at + 1] = lo
      chunk[at + 2] = hasher.hi
      chunk[at + 3] = hasher.lo | flag
      this.#pairs++
    }
  }

  build(): Membership {
    const holdings = new Holdings(this.#pairs)
    let rest = this.#pairs
    for (let chunk = this.#chunks.shift(); chunk; chunk = this.#chunks.shift()) {
      const end = Math.min(rest, CHUNK) * 4
      rest -= end / 4
      for (let at = 0; at < end; at += 4) {
        holdings.add(
          [chunk[at] as number, chunk[at + 1] as number],
          [chunk[at + 2] as number, chunk[at + 3] as number],
        )
      }
    }
    return new Membership(this.key, holdings)
  }
}

export class Membership {
  readonly key: Buffer
  readonly #hasher: Hasher
  readonly #holdings: Holdings
  /** Addresses that several entries hold. */
  readonly #shared = new Map<string, Holders>()
  #table: AddressTable
  /** Addresses whose place in the table changed, by name. */
  #touched = new Map<string, Hash>()

  constructor(key: Buffer, holdings: Holdings) {
    this.key = key
    this.#hasher = new Hasher(key)
    this.#holdings = holdings
    const addresses = holdings.addresses(HI, LO).sort()
    this.#table = layOut(this.#withoutDuplicates(addresses))
  }

  get table(): AddressTable {
    return this.#table
  }

  get hasChanges(): boolean {
    return this.#touched.size > 0
  }

  /**
   * What the entry's addresses are now.
   * @param addresses in their normal form; none: there is no such entry (any more)
   */
  set(id: Uint8Array, addresses: Iterable<string>, authenticatedOnly: boolean): void {
    const entry = this.entryOf(id)
    const flag = authenticatedOnly ? AUTHENTICATED_ONLY : 0
    const now: Hash[] = []
    for (const address of addresses) {
      const { hi, lo } = this.#hasher.address(address)
      now.push([hi, (lo | flag) >>> 0])
    }
    this.#replace(entry, now)
  }

  /** The hash that stands for an entry. */
  entryOf(id: Uint8Array): Hash {
    const { hi, lo } = this.#hasher.bytes(id)
    return [hi, lo]
  }

  /** Whether an entry holds any address. */
  holds(entry: Hash): boolean {
    return this.#holdings.of(entry).length > 0
  }

  remove(entry: Hash): void {
    this.#replace(entry, [])
  }

  /** Every entry that holds an address, once for each. */
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
    return { added: Uint32Array.from(added), removed: Uint32Array.from(removed) }
  }

  /** Gives the table new room where it has become too full. */
  layOutAnew(): void {
    this.#table = layOut(this.#table.packed())
  }

  #replace(entry: Hash, now: readonly Hash[]): void {
    const before = this.#holdings.of(entry)
    for (const address of now) {
      const held = before.find((other) => sameAddress(other, address))
      if (held && held[1] === address[1]) continue
      if (held) this.#release(entry, held)
      if (this.#holdings.add(entry, address)) this.#hold(address)
    }
    for (const address of before) {
      if (!now.some((other) => sameAddress(other, address))) this.#release(entry, address)
    }
  }

  /** One more entry holds the address. */
  #hold(address: Hash): void {
    const found = this.#table.find(...address)
    if (found < 0) {
      this.#list(address)
      return
    }
    const holders = this.#holdersOf(address) ?? one(found === AUTHENTICATED_ONLY)
    count(holders, isFlagged(address), 1)
    this.#shared.set(nameOf(address), holders)
    this.#listHeldBy(holders, address)
  }

  /** The entry does not hold the address any more. */
  #release(entry: Hash, address: Hash): void {
    this.#holdings.remove(entry, address)
    const holders = this.#holdersOf(address)
    if (!holders) {
      this.#table.remove(...address)
      this.#touched.set(nameOf(address), address)
      return
    }
    count(holders, isFlagged(address), -1)
    if (holders.flagged + holders.open === 1) this.#shared.delete(nameOf(address))
    this.#listHeldBy(holders, address)
  }

  #holdersOf(address: Hash): Holders | undefined {
    return this.#shared.size === 0 ? undefined : this.#shared.get(nameOf(address))
  }

  #listHeldBy(holders: Holders, address: Hash): void {
    const wanted = combined(address, holders)
    if (this.#table.find(...address) !== (wanted[1] & AUTHENTICATED_ONLY)) this.#list(wanted)
  }

  #list(address: Hash): void {
    if (!this.#table.add(...address)) {
      this.layOutAnew()
      this.#table.add(...address)
    }
    this.#touched.set(nameOf(address), address)
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
        count(holders, isFlagged(at(next)), 1)
      }
      if (next - from > 1) this.#shared.set(nameOf(first), holders)
      const [hi, lo] = combined(first, holders)
      words[kept * 2 + HI] = hi
      words[kept * 2 + LO] = lo
      kept++
    }
    return sorted.subarray(0, kept)
  }
}

const nameOf = ([hi, lo]: Hash) => `${hi} ${lo >>> 1}`

const one = (flagged: boolean): Holders => ({ flagged: flagged ? 1 : 0, open: flagged ? 0 : 1 })

function count(holders: Holders, flagged: boolean, by: 1 | -1): void {
  if (flagged) holders.flagged += by
  else holders.open += by
}

/** The address with the flag that its holders give it together. */
function combined([hi, lo]: Hash, { open }: Holders): Hash {
  const hash = (lo & ~AUTHENTICATED_ONLY) >>> 0
  return [hi, open === 0 ? (hash | AUTHENTICATED_ONLY) >>> 0 : hash]
}

// Exact sets of addresses, used to find out who may relay without trying four billion clients. Masks need
// not be contiguous, so lists of networks are not lists of ranges. A set is a binary decision diagram over
// the bits of an address, highest bit first: each node tests one bit, bits that make no difference have no
// node, and equal sets are the same node.
import type { Network } from './networks'

/** A set in one address space; equal sets are equal numbers. */
export type AddressSet = number

/** Consecutive addresses; with `mask`, only those for which `(address AND mask) = first`. */
export interface Block {
  readonly first: bigint
  readonly last: bigint
  readonly mask?: bigint
  /** How many addresses it holds. */
  readonly size: bigint
}

type Masked = Pick<Network, 'family' | 'net' | 'mask'>

export const NONE: AddressSet = 0
export const ALL: AddressSet = 1

/** Two node numbers below this fit into one safe integer. */
const PAIR = 2 ** 26
/** Up to this many ranges are always listed as ranges rather than patterns. */
const RANGES = 10_000n

/** The sets of one address family, and the nodes that they share. */
export class AddressSpace {
  readonly family: 4 | 6
  readonly #width: number
  // For each node: the bit that it tests, counted from the highest, and the sets for 0 and 1. The first
  // two nodes are NONE and ALL, which test no bit.
  readonly #level: number[]
  readonly #low: number[] = [NONE, ALL]
  readonly #high: number[] = [NONE, ALL]
  readonly #nodes: Map<number, number>[]
  /** Whether any network so far had a gap in its mask. */
  #hasGaps = false

  constructor(family: 4 | 6) {
    this.family = family
    this.#width = family === 4 ? 32 : 128
    this.#level = [this.#width, this.#width]
    this.#nodes = Array.from({ length: this.#width }, () => new Map())
  }

  /** The set of the listed networks of this family. */
  of(networks: readonly Masked[]): AddressSet {
    const ours = networks.filter(({ family }) => family === this.family)
    let set = this.#prefixes(
      ours.filter(({ mask }) => this.#isPrefix(mask)),
      0,
    )
    for (const { net, mask } of ours) {
      if (!this.#isPrefix(mask)) set = this.union(set, this.#network(net, mask))
    }
    return set
  }

  ofBlock({ first, last, mask }: Block): AddressSet {
    if (mask !== undefined) return this.#network(first, mask)
    const { family } = this
    const networks: Masked[] = []
    for (let net = first; net <= last; ) {
      let size = net === 0n ? this.#ones + 1n : net & -net
      while (net + size - 1n > last) size >>= 1n
      networks.push({ family, net, mask: this.#ones ^ (size - 1n) })
      net += size
    }
    return this.of(networks)
  }

  union(a: AddressSet, b: AddressSet, known = new Map<number, AddressSet>()): AddressSet {
    if (a === ALL || b === ALL) return ALL
    if (a === NONE || a === b) return b
    if (b === NONE) return a
    return this.#combine(a, b, known, (x, y) => this.union(x, y, known))
  }

  minus(a: AddressSet, b: AddressSet, known = new Map<number, AddressSet>()): AddressSet {
    if (a === NONE || b === ALL || a === b) return NONE
    if (b === NONE) return a
    return this.#combine(a, b, known, (x, y) => this.minus(x, y, known))
  }

  size(set: AddressSet): bigint {
    const sizes = new Map<AddressSet, bigint>([
      [NONE, 0n],
      [ALL, 1n],
    ])
    const sizeAt = (node: AddressSet, level: number): bigint => {
      let size = sizes.get(node)
      if (size === undefined) {
        const below = this.#levelOf(node) + 1
        size = sizeAt(this.#lowOf(node), below) + sizeAt(this.#highOf(node), below)
        sizes.set(node, size)
      }
      return size << BigInt(this.#levelOf(node) - level)
    }
    return sizeAt(set, 0)
  }

  /** The set as disjoint blocks, in order: as ranges, or as patterns if ranges are many and patterns fewer. */
  blocks(set: AddressSet): Block[] {
    const blocks: Block[] = []
    if (this.#hasGaps && this.#runs(set) > RANGES && this.#runs(set) > this.#patterns(set)) {
      this.#addPatterns(set, blocks)
    } else {
      this.#addRanges(set, blocks)
    }
    return blocks
  }

  /** The set of networks with contiguous masks, built at once: each network is a path from the top. */
  #prefixes(networks: readonly Masked[], level: number): AddressSet {
    if (networks.length === 0) return NONE
    const bit = (1n << BigInt(this.#width)) >> BigInt(level + 1)
    const low: Masked[] = []
    const high: Masked[] = []
    for (const network of networks) {
      if (level === this.#width || (network.mask & bit) === 0n) return ALL
      const side = network.net & bit ? high : low
      side.push(network)
    }
    return this.#node(level, this.#prefixes(low, level + 1), this.#prefixes(high, level + 1))
  }

  #isPrefix(mask: bigint): boolean {
    const free = this.#ones ^ mask
    return (free & (free + 1n)) === 0n
  }

  #network(net: bigint, mask: bigint): AddressSet {
    this.#hasGaps = true
    let set = ALL
    for (let level = this.#width - 1, bit = 1n; level >= 0; level--, bit <<= 1n) {
      if ((mask & bit) === 0n) continue
      set = net & bit ? this.#node(level, NONE, set) : this.#node(level, set, NONE)
    }
    return set
  }

  #combine(
    a: AddressSet,
    b: AddressSet,
    known: Map<number, AddressSet>,
    combine: (a: AddressSet, b: AddressSet) => AddressSet,
  ): AddressSet {
    const key = a * PAIR + b
    const before = known.get(key)
    if (before !== undefined) return before
    const levelA = this.#levelOf(a)
    const levelB = this.#levelOf(b)
    const level = Math.min(levelA, levelB)
    const [lowA, highA] = levelA === level ? [this.#lowOf(a), this.#highOf(a)] : [a, a]
    const [lowB, highB] = levelB === level ? [this.#lowOf(b), this.#highOf(b)] : [b, b]
    const set = this.#node(level, combine(lowA, lowB), combine(highA, highB))
    known.set(key, set)
    return set
  }

  #node(level: number, low: AddressSet, high: AddressSet): AddressSet {
    if (low === high) return low
    const nodes = this.#nodes[level] as Map<number, number>
    const key = low * PAIR + high
    const known = nodes.get(key)
    if (known !== undefined) return known
    const node = this.#level.push(level) - 1
    if (node >= PAIR) throw new Error('too many networks to be told apart')
    this.#low.push(low)
    this.#high.push(high)
    nodes.set(key, node)
    return node
  }

  #levelOf = (node: AddressSet): number => this.#level[node] as number
  #lowOf = (node: AddressSet): AddressSet => this.#low[node] as number
  #highOf = (node: AddressSet): AddressSet => this.#high[node] as number

  /** How many ranges the set has. */
  #runs(set: AddressSet): bigint {
    interface Runs {
      readonly count: bigint
      readonly atStart: boolean
      readonly atEnd: boolean
    }
    const known = new Map<AddressSet, Runs>([
      [NONE, { count: 0n, atStart: false, atEnd: false }],
      [ALL, { count: 1n, atStart: true, atEnd: true }],
    ])
    const runsAt = (node: AddressSet, level: number): Runs => {
      let runs = known.get(node)
      if (!runs) {
        const below = this.#levelOf(node) + 1
        const low = runsAt(this.#lowOf(node), below)
        const high = runsAt(this.#highOf(node), below)
        const joined = low.atEnd && high.atStart ? 1n : 0n
        const count = low.count + high.count - joined
        runs = { count, atStart: low.atStart, atEnd: high.atEnd }
        known.set(node, runs)
      }
      // Each bit that makes no difference doubles what follows it.
      const copies = 1n << BigInt(this.#levelOf(node) - level)
      const joined = runs.atStart && runs.atEnd ? copies - 1n : 0n
      return { ...runs, count: runs.count * copies - joined }
    }
    return runsAt(set, 0).count
  }

  /** How many patterns {@link #addPatterns} makes of the set. */
  #patterns(set: AddressSet): bigint {
    const known = new Map<AddressSet, bigint>([
      [NONE, 0n],
      [ALL, 1n],
    ])
    const count = (node: AddressSet): bigint => {
      let patterns = known.get(node)
      if (patterns === undefined) {
        patterns = count(this.#lowOf(node)) + count(this.#highOf(node))
        known.set(node, patterns)
      }
      return patterns
    }
    return count(set)
  }

  #addRanges(set: AddressSet, blocks: Block[], level = 0, net = 0n): void {
    if (set === NONE) return
    const size = 1n << BigInt(this.#width - level)
    if (set === ALL) {
      append(blocks, { first: net, last: net + size - 1n, size })
      return
    }
    const here = this.#levelOf(set) === level
    this.#addRanges(here ? this.#lowOf(set) : set, blocks, level + 1, net)
    this.#addRanges(here ? this.#highOf(set) : set, blocks, level + 1, net + (size >> 1n))
  }

  #addPatterns(set: AddressSet, blocks: Block[], net = 0n, mask = 0n, fixed = 0): void {
    if (set === NONE) return
    if (set === ALL) {
      const size = 1n << BigInt(this.#width - fixed)
      const last = net | (this.#ones ^ mask)
      append(blocks, { first: net, last, size, ...(this.#isPrefix(mask) ? {} : { mask }) })
      return
    }
    const bit = 1n << BigInt(this.#width - 1 - this.#levelOf(set))
    this.#addPatterns(this.#lowOf(set), blocks, net, mask | bit, fixed + 1)
    this.#addPatterns(this.#highOf(set), blocks, net | bit, mask | bit, fixed + 1)
  }

  get #ones(): bigint {
    return (1n << BigInt(this.#width)) - 1n
  }
}

/** Adds a block, or extends the last one if the two touch. */
function append(blocks: Block[], block: Block): void {
  const before = blocks.at(-1)
  const touches = before && before.last + 1n === block.first
  if (touches && before.mask === undefined && block.mask === undefined) {
    const { first } = before
    blocks[blocks.length - 1] = { first, last: block.last, size: before.size + block.size }
  } else {
    blocks.push(block)
  }
}

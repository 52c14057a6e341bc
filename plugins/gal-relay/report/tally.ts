// How often each of any number of names came, for the most frequent ones, in bounded memory.

export interface Counted {
  readonly name: string
  readonly count: number
}

/**
 * Names are whatever strangers send, so there is no end of them. When there are too many, the rarer half
 * is dropped: one that keeps coming is counted exactly, unless it came seldom at first.
 */
export class Tally {
  readonly #counts = new Map<string, number>()
  readonly #most: number

  /** @param most the most names held at a time */
  constructor(most: number) {
    this.#most = most
  }

  add(name: string, count = 1): void {
    const { size } = this.#counts
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count)
    if (size < this.#most || this.#counts.size === size) return
    const frequent = this.largest(Math.ceil(this.#most / 2))
    this.#counts.clear()
    for (const one of frequent) this.#counts.set(one.name, one.count)
  }

  /** The most frequent first. */
  largest(count: number): readonly Counted[] {
    return Array.from(this.#counts, ([name, count]) => ({ name, count }))
      .sort((a, b) => b.count - a.count)
      .slice(0, count)
  }
}

// Counts the most frequent of any number of names in bounded memory.

export interface Counted {
  readonly name: string
  readonly count: number
}

/**
 * Strangers choose the names, so there may be any number of them. When there are too many, the rarer half is
 * dropped. The count of a frequent name is exact, unless the name was rare at first.
 */
export class Tally {
  readonly #counts = new Map<string, number>()
  readonly #most: number

  /** @param most the maximum number of names at a time */
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

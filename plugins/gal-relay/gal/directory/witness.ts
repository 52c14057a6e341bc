// Why an empty answer may be believed. A directory that was emptied, is being refilled, lost a right
// or was given the wrong base answers every search with success and no entries, just as it does for
// an address that nobody has. So each search also asks for a witness, an address that was found
// before: whoever shows that one and not the other knows that the other is absent.

/** An address that was found. */
export interface Known {
  /** In the form that compares. */
  readonly key: string
  /** As the entry has it, so that the server finds it again. */
  readonly address: string
}

/** So many addresses are called when the witness is missing, and each counts for so long. */
const RECENT = 16
const COUNTS_FOR = 3_600_000
/** Fewer than these say nothing: all of them may have been deleted with good reason. */
const QUORUM = 4

export class Witness {
  /** Addresses found lately, the latest last, and when. */
  readonly #recent = new Map<string, { readonly known: Known; readonly at: number }>()
  #current: Known | undefined
  /** It was shown, and nobody knows whether it would be found by its address. */
  #isGuess = false

  /** The one to ask for beside another address. */
  get current(): Known | undefined {
    return this.#current
  }

  found(known: Known): void {
    if (!this.#current || this.#isGuess) this.#current = known
    this.#isGuess = false
    const now = performance.now()
    const before = this.#recent.get(known.key)
    // Most mail is for few recipients; one that is here already counts long enough.
    if (before && now - before.at < COUNTS_FOR / 2) return
    this.#recent.delete(known.key)
    this.#recent.set(known.key, { known, at: now })
    const [oldest] = this.#recent.keys()
    if (this.#recent.size > RECENT && oldest !== undefined) this.#recent.delete(oldest)
  }

  /** Addresses of which a server that has not lost its entries shows at least half; or none. */
  roll(): Known[] {
    const since = performance.now() - COUNTS_FOR
    const called = [...this.#recent.values()].filter(({ at }) => at >= since)
    return called.length < QUORUM ? [] : called.map(({ known }) => known)
  }

  /** The one so far is gone, and this one was shown instead. */
  replace(known: Known): void {
    if (this.#current) this.#recent.delete(this.#current.key)
    this.#current = known
    this.#isGuess = !this.#recent.has(known.key)
  }
}

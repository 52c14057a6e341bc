// Why an empty answer may be believed. A directory that was emptied, is being refilled, lost a right
// or was given the wrong base answers every search with success and no entries, just as it does for
// an address that nobody has. So each search also asks for a witness, an address that was found
// before: whoever shows that one and not the other knows that the other is absent. Where the witness is
// missing too, or the other was found lately, more of those that were found lately are asked for.

import type { AddressValue } from './entry-addresses'

/** An address that was found, and the value that held it. */
export interface Known extends AddressValue {
  /** In the form that compares. */
  readonly key: string
  /** Of an entry that held it. */
  readonly dn: string
}

interface Found {
  readonly known: Known
  readonly at: number
  /** Since when it is missing, if it is. */
  missingSince: number
}

/** How many addresses are remembered, and for how long. */
const REMEMBERED = 10_000
const COUNTS_FOR = 3_600_000
/** How many of them are asked for at once; searches for addresses bring a few entries more. */
const SAMPLE = 40

/** What the searches below one base have shown. */
export class Witness {
  /** Addresses found lately, the latest last. */
  readonly #found = new Map<string, Found>()
  #current: Known | undefined
  /** It was shown, and nobody knows whether it would be found by its address. */
  #isGuess = false

  /** The one to ask for beside another address. */
  get current(): Known | undefined {
    return this.#current
  }

  /** @param isWhole its entry shows all its addresses at once */
  found(known: Known, isWhole: boolean): void {
    if (isWhole && (!this.#current || this.#isGuess)) {
      this.#current = known
      this.#isGuess = false
    }
    const now = performance.now()
    const before = this.#found.get(known.key)
    if (before) before.missingSince = Number.POSITIVE_INFINITY
    // Most mail is for few recipients; one that is here already counts long enough.
    if (before && now - before.at < COUNTS_FOR / 2) return
    this.#found.delete(known.key)
    this.#found.set(known.key, { known, at: now, missingSince: Number.POSITIVE_INFINITY })
    const [oldest] = this.#found.keys()
    if (this.#found.size > REMEMBERED && oldest !== undefined) this.#found.delete(oldest)
  }

  /** @returns since when an address is missing that was found lately; undefined: it was not */
  missingSince(key: string): number | undefined {
    const found = this.#found.get(key)
    const now = performance.now()
    if (!found || now - found.at > COUNTS_FOR) return undefined
    found.missingSince = Math.min(found.missingSince, now)
    return found.missingSince
  }

  /** @returns the DN of the entry that held an address, if it was found lately */
  dnOf(key: string): string | undefined {
    return this.#found.get(key)?.known.dn
  }

  /** The address is believed to be gone. */
  forget(key: string): void {
    this.#found.delete(key)
  }

  /** Some of the addresses that were found lately, at random. */
  sample(): Known[] {
    const since = performance.now() - COUNTS_FOR
    const all = [...this.#found.values()].filter(({ at }) => at >= since)
    for (let i = 0; i < Math.min(SAMPLE, all.length); i++) {
      const other = i + Math.floor(Math.random() * (all.length - i))
      ;[all[i], all[other]] = [all[other] as Found, all[i] as Found]
    }
    return all.slice(0, SAMPLE).map(({ known }) => known)
  }

  /** The one so far is missing. @param known who was shown instead, if anybody was */
  replace(known: Known | undefined): void {
    this.#current = known
    this.#isGuess = known !== undefined && !this.#found.has(known.key)
  }
}

// Why an empty answer may be believed. A directory that was emptied, is being refilled, lost a right
// or was given the wrong base answers every search with success and no entries, just as it does for
// an address that nobody has. So each search also asks for a witness, an address that was found before: a
// server that shows the witness but not the other address knows that the other is absent. If the witness
// is missing too, or the other was found recently, more addresses that were found recently are asked for.

import type { AddressValue } from './entry-addresses'

/** An address that was found, and the value that held it. */
export interface Known extends AddressValue {
  /** The address in its normal form. */
  readonly key: string
  /** Of an entry that held it. */
  readonly dn: string
}

interface Found {
  readonly known: Known
  readonly at: number
  /** When it was first missing; infinity if it is not. */
  missingSince: number
}

/** How many addresses are remembered, and for how long. */
const REMEMBERED = 10_000
const COUNTS_FOR = 3_600_000
/** How many of them are asked for at once; a search may return a few entries more. */
const SAMPLE = 40

/** Remembers what the searches below one base have shown. */
export class Witness {
  /** Addresses found recently, the latest last. */
  readonly #found = new Map<string, Found>()
  #current: Known | undefined
  /** Whether the current one was only shown, and may not be found by its address. */
  #isGuess = false

  /** The witness to ask for along with another address. */
  get current(): Known | undefined {
    return this.#current
  }

  /** @param isWhole whether its entry shows all its addresses at once */
  found(known: Known, isWhole: boolean): void {
    if (isWhole && (!this.#current || this.#isGuess)) {
      this.#current = known
      this.#isGuess = false
    }
    const now = performance.now()
    const before = this.#found.get(known.key)
    if (before) before.missingSince = Number.POSITIVE_INFINITY
    // Most mail is for a few recipients; one that was found recently counts long enough as it is.
    if (before && now - before.at < COUNTS_FOR / 2) return
    this.#found.delete(known.key)
    this.#found.set(known.key, { known, at: now, missingSince: Number.POSITIVE_INFINITY })
    const [oldest] = this.#found.keys()
    if (this.#found.size > REMEMBERED && oldest !== undefined) this.#found.delete(oldest)
  }

  /**
   * Notes that an address is missing, if it was found recently.
   * @returns since when it has been missing; undefined if it was not found recently
   */
  noteMissing(key: string): number | undefined {
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

  /** Some of the addresses that were found recently, at random. */
  sample(): Known[] {
    const since = performance.now() - COUNTS_FOR
    const all = [...this.#found.values()].filter(({ at }) => at >= since)
    for (let i = 0; i < Math.min(SAMPLE, all.length); i++) {
      const other = i + Math.floor(Math.random() * (all.length - i))
      ;[all[i], all[other]] = [all[other] as Found, all[i] as Found]
    }
    return all.slice(0, SAMPLE).map(({ known }) => known)
  }

  /** Replaces a witness that is missing. @param known the address that was shown instead, if any */
  replace(known: Known | undefined): void {
    this.#current = known
    this.#isGuess = known !== undefined && !this.#found.has(known.key)
  }
}

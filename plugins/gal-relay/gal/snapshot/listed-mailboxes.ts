// Where the mail of the recipients in a list goes, in a process that answers: what the numbers beside
// the addresses stand for (mailbox-numbers.ts). What the file began with lies in memory as it lies in
// the file; what has been sealed since is kept beside it, until a new file comes.
import type { Mailbox } from '../../routing/mailbox'
import type { AddressTable } from './address-table'
import { AMBIGUOUS, NO_MAILBOX, SEALED } from './mailbox-numbers'
import { unseal } from './sealed-mailbox'

/** What a file has besides the table and the numbers in it. */
export interface MailboxData {
  /** The first has the number 1. */
  readonly hosts: readonly string[]
  /** For each address with a sealed text, in the order of the table: its hash as `hi` and `lo`, and the text's end. */
  readonly index: Uint32Array
  /** The sealed texts, one behind the other. */
  readonly sealed: Uint8Array
}

export const INDEX_WORDS = 3

/** What the list says cannot be read: the directory must be asked. */
export const UNREADABLE = 'unreadable'

export class ListedMailboxes {
  /** An object for each host, so that an answer makes none. */
  readonly #byNumber: Mailbox[] = []
  readonly #key: Buffer
  readonly #index: Uint32Array
  readonly #sealed: Uint8Array
  readonly #since = new Map<string, Uint8Array>()

  /** @param key of the list */
  constructor(key: Buffer, index: Uint32Array, sealed: Uint8Array) {
    this.#key = key
    this.#index = index
    this.#sealed = sealed
  }

  addHost(host: string): void {
    this.#byNumber.push({ host })
  }

  /** @param sealed undefined: what was sealed for this address is not wanted any more */
  set(hi: number, lo: number, sealed: Uint8Array | undefined): void {
    if (sealed) this.#since.set(nameOf(hi, lo), sealed)
    else if (this.#since.size > 0) this.#since.delete(nameOf(hi, lo))
  }

  /**
   * @param address gives that of a recipient in the list, in its normal form; called where it is needed
   * @returns undefined where nothing is said
   */
  of(
    table: AddressTable,
    hi: number,
    lo: number,
    address: () => string,
  ): Mailbox | undefined | typeof UNREADABLE {
    const number = table.mailbox(hi, lo)
    if (number === NO_MAILBOX) return undefined
    if (number === AMBIGUOUS) return { isAmbiguous: true }
    if (number !== SEALED) return this.#byNumber[number - 1] ?? UNREADABLE
    const sealed = this.#since.get(nameOf(hi, lo)) ?? this.#fromFile(hi, lo)
    const text = sealed && unseal(this.#key, address(), sealed)
    if (!text) return UNREADABLE
    const [host, routing] = text
    const named = typeof host === 'number' ? this.#byNumber[host - 1]?.host : (host ?? undefined)
    if (typeof host === 'number' && named === undefined) return UNREADABLE
    return {
      ...(named === undefined ? {} : { host: named }),
      ...(routing === null ? {} : { address: routing }),
    }
  }

  /** The index is in order. */
  #fromFile(hi: number, lo: number): Uint8Array | undefined {
    const index = this.#index
    let low = 0
    let high = index.length / INDEX_WORDS
    while (low < high) {
      const middle = (low + high) >>> 1
      const at = middle * INDEX_WORDS
      const otherHi = index[at] as number
      const otherLo = index[at + 1] as number
      if (otherHi === hi && otherLo === lo) {
        const start = middle === 0 ? 0 : (index[at - 1] as number)
        return this.#sealed.subarray(start, index[at + 2])
      }
      if (otherHi < hi || (otherHi === hi && otherLo < lo)) low = middle + 1
      else high = middle
    }
    return undefined
  }
}

const nameOf = (hi: number, lo: number) => `${hi} ${lo >>> 1}`

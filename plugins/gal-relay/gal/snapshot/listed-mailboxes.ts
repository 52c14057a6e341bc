// Tells a process that answers mail where the mail of listed recipients goes: the meaning of the
// numbers beside the addresses (mailbox-numbers.ts). The data that the file began with has the same
// form in memory as in the file. Texts sealed since then are kept beside it until there is a new
// file.
import type { Mailbox } from '../../routing/mailbox'
import type { AddressTable } from './address-table'
import { AMBIGUOUS, NO_MAILBOX, SEALED } from './mailbox-numbers'
import { unseal } from './sealed-mailbox'

/** The data on mailboxes in a file, apart from the numbers in the table. */
export interface MailboxData {
  /** The first has the number 1. */
  readonly hosts: readonly string[]
  /** For each address with a sealed text, in table order: `hi`, `lo` and the end of the text. */
  readonly index: Uint32Array
  /** The sealed texts, one after the other. */
  readonly sealed: Uint8Array
}

export const INDEX_WORDS = 3

/** The list's data on the mailbox cannot be read: the directory must be asked. */
export const UNREADABLE = 'unreadable'

export class ListedMailboxes {
  /** One object per host, so an answer does not have to create one. */
  readonly #byNumber: Mailbox[] = []
  readonly #key: Buffer
  readonly #index: Uint32Array
  readonly #sealed: Uint8Array
  readonly #since = new Map<string, Uint8Array>()

  /** @param key the key of the list */
  constructor(key: Buffer, index: Uint32Array, sealed: Uint8Array) {
    this.#key = key
    this.#index = index
    this.#sealed = sealed
  }

  addHost(host: string): void {
    this.#byNumber.push({ host })
  }

  /** @param sealed the sealed text of the address; `undefined` discards the one it had */
  set(hi: number, lo: number, sealed: Uint8Array | undefined): void {
    if (sealed) this.#since.set(nameOf(hi, lo), sealed)
    else if (this.#since.size > 0) this.#since.delete(nameOf(hi, lo))
  }

  /**
   * @param address returns the address of a listed recipient, in its normal form; called if needed
   * @returns `undefined` if the list does not say
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

  /** A binary search: the index is in order. */
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

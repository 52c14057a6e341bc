// What an entry says of its mailbox, as the number that the list keeps beside each address: a host by its
// place among the hosts, or that there is more to know. The process that reads the directory has a
// number of its own for each routing address, which is sealed; in the file they all are SEALED.
import type { Mailbox } from '../../routing/mailbox'
import { mailboxKey } from '../mailbox-values'
import type { Hasher } from './address-hash'
import { seal } from './sealed-mailbox'

/** Nothing is said. The numbers from 1 on are hosts. */
export const NO_MAILBOX = 0
/** Of so many hosts at most. Others are kept with the sealed routing addresses, whether there are any or not. */
export const HOSTS_MOST = 60_000
/** Bytes; longer ones are sealed too. */
export const HOST_LONGEST = 255
/** What is said is sealed (sealed-mailbox.ts). */
export const SEALED = 0xfffe
/** Several values or entries contradict each other. */
export const AMBIGUOUS = 0xffff
/** From here on: what this process has sealed. */
const FIRST_SEALED = 0x10000

/** How what is said compares, 8 characters of latin1, and the sealed text in the same form. */
type SealedEntry = string
const KEY_LENGTH = 8

/** The numbers of the process that reads the directory. */
export class MailboxNumbers {
  /** The first has the number 1. */
  readonly hosts: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #sealed: (SealedEntry | undefined)[] = []
  readonly #free: number[] = []
  readonly #listKey: Buffer
  readonly #hasher: Hasher

  constructor(listKey: Buffer, hasher: Hasher) {
    this.#listKey = listKey
    this.#hasher = hasher
  }

  /**
   * A number above SEALED is to be released.
   * @param address that the entry holds, in its normal form
   */
  of(mailbox: Mailbox | undefined, address: string): number {
    if (!mailbox) return NO_MAILBOX
    if (mailbox.isAmbiguous) return AMBIGUOUS
    const host = mailbox.host === undefined ? NO_MAILBOX : this.#hostNumber(mailbox.host)
    if (host !== undefined && mailbox.address === undefined) return host
    const text = [host || (mailbox.host ?? null), mailbox.address ?? null] as const
    const sealed = seal(this.#listKey, address, text).toString('latin1')
    const place = this.#free.pop() ?? this.#sealed.length
    this.#sealed[place] = this.#hashed(mailboxKey(mailbox)) + sealed
    return FIRST_SEALED + place
  }

  release(number: number): void {
    if (number < FIRST_SEALED) return
    this.#sealed[number - FIRST_SEALED] = undefined
    this.#free.push(number - FIRST_SEALED)
  }

  /** Whether both say the same of the same address, in the same spelling. */
  areSame(one: number, other: number): boolean {
    if (one < FIRST_SEALED || other < FIRST_SEALED) return one === other
    return this.#entry(one) === this.#entry(other)
  }

  /** What these say together. */
  combined(numbers: Iterable<number>): number {
    let first: number | undefined
    for (const number of numbers) {
      first ??= number
      if (number === first) continue
      if (this.#key(number) !== this.#key(first)) return AMBIGUOUS
    }
    return first ?? NO_MAILBOX
  }

  /** As it is in the file. */
  inFile(number: number): number {
    return number < FIRST_SEALED ? number : SEALED
  }

  /** @returns how many bytes are sealed under a number above SEALED */
  sealedLength(number: number): number {
    return this.#entry(number).length - KEY_LENGTH
  }

  /** @returns where they end */
  writeSealed(number: number, into: Buffer, at: number): number {
    return at + into.write(this.#entry(number).slice(KEY_LENGTH), at, 'latin1')
  }

  /** @returns undefined where it can have none */
  #hostNumber(host: string): number | undefined {
    const known = this.#numbers.get(host)
    if (known !== undefined) return known
    if (this.hosts.length === HOSTS_MOST || Buffer.byteLength(host) > HOST_LONGEST) return undefined
    // The settings may name an attribute with addresses, which are in no file in clear.
    if (host.includes('@')) return undefined
    this.hosts.push(host)
    this.#numbers.set(host, this.hosts.length)
    return this.hosts.length
  }

  #entry(number: number): SealedEntry {
    const entry = this.#sealed[number - FIRST_SEALED]
    if (entry === undefined) throw new Error('nothing is sealed under this number')
    return entry
  }

  #key(number: number): string {
    if (number >= FIRST_SEALED) return this.#entry(number).slice(0, KEY_LENGTH)
    if (number === AMBIGUOUS) return this.#hashed(mailboxKey({ isAmbiguous: true }))
    const host = number === NO_MAILBOX ? undefined : this.hosts[number - 1]
    return this.#hashed(mailboxKey({ host }))
  }

  #hashed(text: string): string {
    const { hi, lo } = this.#hasher.bytes(Buffer.from(text))
    return String.fromCharCode(...new Uint8Array(Uint32Array.of(hi, lo).buffer))
  }
}

// What an entry says about its mailbox, as the number that the list keeps beside each address: the
// place of a host among the hosts, or a sign that there is more. Routing addresses are sealed. The
// process that reads the directory has a separate number for each; in the file, all are SEALED.
import type { Mailbox } from '../../routing/mailbox'
import { mailboxKey } from '../mailbox-values'
import type { Hasher } from './address-hash'
import { seal } from './sealed-mailbox'

/** The entry says nothing. The numbers from 1 on are hosts. */
export const NO_MAILBOX = 0
/** The most hosts with numbers. Others are sealed, with or without a routing address. */
export const HOSTS_MOST = 60_000
/** The longest host with a number, in bytes. Longer ones are sealed, too. */
export const HOST_LONGEST = 255
/** The data is sealed (sealed-mailbox.ts). */
export const SEALED = 0xfffe
/** Several values or entries contradict each other. */
export const AMBIGUOUS = 0xffff
/** Numbers from here on refer to what this process has sealed. */
const FIRST_SEALED = 0x10000

/** A hash for comparisons, as 8 latin1 characters, followed by the sealed text as latin1. */
type SealedEntry = string
const KEY_LENGTH = 8

/** The numbers in the process that reads the directory. */
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
   * The caller must release a number from FIRST_SEALED on.
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

  /** Whether both say the same about the same address, in the same spelling. */
  areSame(one: number, other: number): boolean {
    if (one < FIRST_SEALED || other < FIRST_SEALED) return one === other
    return this.#entry(one) === this.#entry(other)
  }

  /** @returns what the numbers of several entries say together */
  combined(numbers: Iterable<number>): number {
    let first: number | undefined
    for (const number of numbers) {
      first ??= number
      if (number === first) continue
      if (this.#key(number) !== this.#key(first)) return AMBIGUOUS
    }
    return first ?? NO_MAILBOX
  }

  /** @returns the number as it is in the file */
  inFile(number: number): number {
    return number < FIRST_SEALED ? number : SEALED
  }

  /** @returns how many bytes are sealed under a number from FIRST_SEALED on */
  sealedLength(number: number): number {
    return this.#entry(number).length - KEY_LENGTH
  }

  /** @returns where the sealed bytes end */
  writeSealed(number: number, into: Buffer, at: number): number {
    return at + into.write(this.#entry(number).slice(KEY_LENGTH), at, 'latin1')
  }

  /** @returns `undefined` if the host cannot have a number */
  #hostNumber(host: string): number | undefined {
    const known = this.#numbers.get(host)
    if (known !== undefined) return known
    if (this.hosts.length === HOSTS_MOST || Buffer.byteLength(host) > HOST_LONGEST) return undefined
    // The settings may name an attribute with addresses, which must not be in a file as plain text.
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

// The list as the directory has it now: every question is a search. An address is in the list when an
// entry that came back really holds it, and it is not when a server that shows what it should show
// has no such entry. Whatever lies between is unavailable.
import { LRUCache } from 'lru-cache'
import type { Recipient } from '../routing/recipient'
import type { GalSettings, LdapSettings } from '../settings/settings'
import { addressKey, recipientKey, spellings } from './address-key'
import {
  ABSENT,
  type AddressList,
  FOUND,
  FOUND_AUTHENTICATED,
  type GalAnswer,
} from './address-list'
import { AddressSearch } from './directory/address-search'
import { Directory } from './directory/directory'
import {
  DirectoryError,
  directoryError,
  type Failure,
  printable,
} from './directory/directory-error'
import type { Entry } from './directory/entry'
import { addressesOf, addressIn, baseName, isTrue, LEGACY_DN } from './directory/entry-addresses'
import type { ServerReport } from './directory/health'
import { isCutShort, remainingValues } from './directory/remaining-values'
import type { Server } from './directory/server'
import { hasEntries, isNoLimit, requireSuccess, requireWhole, type Turn } from './directory/turn'
import { type Known, Witness } from './directory/witness'
import type { Log } from './log'

/** Compares as loosely as any directory does: without case, accents, width and ligatures. */
const LOOSELY = new Intl.Collator('und', { sensitivity: 'base' })

/** An entry that holds an address. */
export interface Holder {
  readonly dn: string
  /** Where the address stands, as the entry has it; undefined when that was not among what it showed. */
  readonly attribute: string | undefined
  readonly value: string | undefined
  readonly isAuthenticatedOnly: boolean
  /** From Exchange's address lists. Such entries receive mail. */
  readonly isHidden: boolean
  /** As the account of a shared mailbox is. Such entries receive mail. */
  readonly isDisabled: boolean
}

/** How an answer came about. */
export interface Inspection {
  readonly answer: GalAnswer
  /** Who gave it; undefined when it is that nobody can be asked. */
  readonly server: string | undefined
  readonly milliseconds: number | undefined
  readonly holders: readonly Holder[]
}

/** In lower case; the second is 2 for disabled accounts (MS-ADTS §2.2.16). */
const HIDDEN = 'msexchhidefromaddresslists'
const ACCOUNT_CONTROL = 'useraccountcontrol'

/** What is asked of a server for one recipient below one base. */
interface Wanted {
  readonly key: string
  /** All addresses that the search is for, the witness among them. */
  readonly addresses: readonly string[]
  readonly witness: Known | undefined
}

/** What a server showed for one recipient. */
interface Shown {
  readonly holders: Entry[]
  /** Below each base where somebody was found before, the witness was shown. */
  readonly isWitnessed: boolean
}

/** That a server showed what it should show. */
interface Proof {
  readonly asked: number
  /** Resolves to those that were called and are missing. */
  readonly missing: Promise<ReadonlySet<string>>
}

/** Fewer addresses than these say nothing: all of them may have been deleted with good reason. */
const QUORUM = 4
/** So long must an address be missing that was found lately: while a list is being emptied, more follow. */
const GRACE = 2000
/** A server that made one doubt it is as it should be when it has not done so for so long. */
const CALM = 5000
/** Recipients that are deferred for the same kind of reason are one line in the log in so long a time. */
const SAID_FOR = 60_000
/** The log has them since they began. */
const SAID_ALREADY: ReadonlySet<Failure> = new Set<Failure>([
  'connection',
  'credentials',
  'waiting',
  'unproven',
])

export class LiveList implements AddressList {
  readonly #log: Log
  readonly #search: AddressSearch
  readonly #directory: Directory
  readonly #attributes: ReadonlySet<string>
  readonly #flag: string
  /** One for each base. */
  readonly #witnesses: readonly Witness[]
  readonly #proofs = new WeakMap<Server, Proof>()
  readonly #doubtful = new WeakSet<Server>()
  #doubtedAt = Number.NEGATIVE_INFINITY
  readonly #warned = new LRUCache<string, true>({ max: 1000 })
  readonly #deferred = new LRUCache<Failure, true>({ max: 10, ttl: SAID_FOR })

  constructor(gal: GalSettings, ldap: LdapSettings, log: Log) {
    this.#log = log
    this.#search = new AddressSearch(gal, ldap)
    this.#directory = new Directory(ldap, this.#search.forNobody(), log)
    this.#witnesses = ldap.base.map(() => new Witness())
    this.#attributes = new Set(gal.attributes.map((name) => name.toLowerCase()))
    this.#flag = gal.authenticated_only_attribute.toLowerCase()
  }

  start(): void {
    this.#directory.start()
  }

  async lookup(recipient: Recipient): Promise<GalAnswer> {
    try {
      const holders = await this.#directory.ask((turn) => this.#holders(recipient, turn))
      return this.#answer(recipient, holders)
    } catch (thrown) {
      const { failure, message } = directoryError(thrown)
      // Why no server is up, or what makes one doubtful, is said when that begins.
      if (!SAID_ALREADY.has(failure)) this.#warnOfDeferral(failure, message)
      return { state: 'unavailable', reason: message }
    }
  }

  /** The same, with all that is known of how it came about; for people, since it asks for more. */
  async inspect(recipient: Recipient): Promise<Inspection> {
    try {
      return await this.#directory.ask(async (turn) => {
        const holders = await this.#holders(recipient, turn)
        const milliseconds = performance.now() - turn.startedAt
        const key = recipientKey(recipient)
        const inspected = holders.map((entry) => this.#inspected(entry, key, turn))
        return {
          answer: this.#answer(recipient, holders),
          server: turn.server.name,
          milliseconds,
          holders: await Promise.all(inspected),
        }
      })
    } catch (error) {
      const answer: GalAnswer = { state: 'unavailable', reason: directoryError(error).message }
      return { answer, server: undefined, milliseconds: undefined, holders: [] }
    }
  }

  close(): Promise<void> {
    return this.#directory.close()
  }

  report(): ServerReport[] {
    return this.#directory.report()
  }

  /**
   * @returns the entries that hold the address; none when the directory has shown that it has none
   * @throws DirectoryError when neither is certain
   */
  async #holders(recipient: Recipient, turn: Turn): Promise<Entry[]> {
    const first = await this.#shown(recipient, turn)
    if (first.holders.length > 0) return first.holders
    const key = recipientKey(recipient)
    const missingSince = this.#missingSince(key)
    if (first.isWitnessed && missingSince === undefined) {
      this.#trusted(turn.server)
      return []
    }
    const missing = await this.#prove(turn)
    // That shows what the server has now, not what it had when it was asked for the address.
    const again = await this.#shown(recipient, turn)
    if (again.holders.length > 0) return again.holders
    if (!again.isWitnessed) {
      throw new DirectoryError('unproven', 'it shows entries at one moment and not at the next')
    }
    if (missingSince !== undefined) this.#requireGone(key, missingSince, missing)
    return []
  }

  /** @returns since when an address is missing that was found lately; undefined: it was not */
  #missingSince(key: string): number | undefined {
    const since = this.#witnesses.map((witness) => witness.missingSince(key))
    return since.find((time) => time !== undefined)
  }

  /**
   * An address that was found lately is missing: it is gone when the others are there, and stay.
   * @throws DirectoryError when that cannot be said yet
   */
  #requireGone(key: string, missingSince: number, missing: ReadonlySet<string>): void {
    const others = missing.size - (missing.has(key) ? 1 : 0)
    if (others > 1) {
      this.#doubtedAt = performance.now()
      const text = `${key} and ${others} other addresses are missing that were found lately`
      this.#warnOfDeferral('unproven', text)
      throw new DirectoryError('unproven', text)
    }
    if (performance.now() - Math.max(missingSince, this.#doubtedAt) < GRACE) {
      throw new DirectoryError('unproven', `${key} was there a moment ago`)
    }
    for (const witness of this.#witnesses) witness.forget(key)
  }

  /** @throws DirectoryError when it cannot be known whether an entry that came back holds the address */
  async #shown(recipient: Recipient, turn: Turn): Promise<Shown> {
    const key = recipientKey(recipient)
    const own = spellings(recipient)
    const witnesses = this.#witnesses.map(({ current }) => current)
    const beside = witnesses.map((witness) => (witness ? [witness.address] : []))
    const results = await turn.search(this.#search.forAddresses(own, beside))
    const holders: Entry[] = []
    const others: [Entry, Wanted][] = []
    const shown = new Set<Known>()
    for (const [base, result] of results.entries()) {
      if (!hasEntries(result)) continue
      const witness = witnesses[base]
      const wanted: Wanted = { key, addresses: [...own, ...(beside[base] ?? [])], witness }
      for (const entry of result.entries) {
        const address = this.#addressIn(entry, key)
        if (address !== undefined) {
          this.#witnesses[base]?.found({ key, address }, !isCutShort(entry))
          holders.push(entry)
          continue
        }
        const isWitness = witness && this.#addressIn(entry, witness.key) !== undefined
        if (isWitness) shown.add(witness)
        if (!isWitness || isCutShort(entry)) others.push([entry, wanted])
      }
    }
    for (const [base, { leftOut }] of results.entries()) {
      const witness = witnesses[base]
      // It may have grown larger than is read.
      if (leftOut && witness && !shown.has(witness)) this.#witnesses[base]?.replace(undefined)
    }
    if (holders.length === 0) {
      requireWhole(results)
      for (const [entry, wanted] of others) {
        if (await this.#holdsUnseen(entry, wanted, turn)) holders.push(entry)
      }
    }
    if (holders.length === 0) requireSuccess(results)
    const known = witnesses.filter((witness) => witness !== undefined)
    return { holders, isWitnessed: known.length > 0 && known.every((one) => shown.has(one)) }
  }

  #answer(recipient: Recipient, holders: readonly Entry[]): GalAnswer {
    if (holders.length === 0) return ABSENT
    if (holders.length > 1) this.#warnOfSeveral(recipientKey(recipient), holders)
    // Where several disagree, the mail system knows which one it means.
    const flagged = this.#flag !== '' && holders.every((entry) => isTrue(entry, this.#flag))
    return flagged ? FOUND_AUTHENTICATED : FOUND
  }

  async #inspected(entry: Entry, key: string, turn: Turn): Promise<Holder> {
    const shown = entry.attributes.flatMap(({ type, values }) => {
      const attribute = baseName(type)
      if (!this.#attributes.has(attribute)) return []
      return values.map((value) => ({ attribute: type, text: value.toString('utf8') }))
    })
    const holding = shown.find(({ attribute, text }) => {
      const address = addressIn(baseName(attribute), text, this.#attributes.has(LEGACY_DN))
      return address !== undefined && addressKey(address) === key
    })
    const flags = [HIDDEN, ACCOUNT_CONTROL]
    const [result] = await turn.search([this.#search.forValues(entry.dn, ...flags)])
    const more = result?.entries[0]
    const control = more?.attributes.find(({ type }) => baseName(type) === ACCOUNT_CONTROL)
    return {
      dn: printable(entry.dn),
      attribute: holding?.attribute,
      value: holding && printable(holding.text),
      isAuthenticatedOnly: this.#flag !== '' && isTrue(entry, this.#flag),
      isHidden: more !== undefined && isTrue(more, HIDDEN),
      isDisabled: (Number(control?.values[0]?.toString('latin1') ?? 0) & 2) !== 0,
    }
  }

  /** @returns the address as the entry has it */
  #addressIn(entry: Entry, key: string): string | undefined {
    return addressesOf(entry, this.#attributes).find((address) => addressKey(address) === key)
  }

  /**
   * Whether an entry that came back without showing the address holds it nevertheless.
   * @throws DirectoryError when that cannot be known
   */
  async #holdsUnseen(entry: Entry, { key, addresses }: Wanted, turn: Turn): Promise<boolean> {
    if (isCutShort(entry)) {
      const rest = await remainingValues(entry, this.#search, turn)
      return this.#addressIn(rest, key) !== undefined
    }
    const asked = addresses.map(withoutSpaces)
    const alike = addressesOf(entry, this.#attributes)
      .map(withoutSpaces)
      .some((shown) => asked.some((address) => LOOSELY.compare(shown, address) === 0))
    if (alike) return false
    const name = printable(entry.dn)
    const text = `${name} came for ${key} without showing it: are its addresses readable?`
    this.#warnOnce(text)
    throw new DirectoryError('unproven', text)
  }

  /**
   * The server did not show the witness, or somebody is missing: has it lost its entries?
   * @returns whom of those that were called it does not show, when that are few enough
   * @throws DirectoryError when it may have lost its entries
   */
  async #prove(turn: Turn): Promise<ReadonlySet<string>> {
    const { server, startedAt } = turn
    let proof = this.#proofs.get(server)
    if (!proof || proof.asked < startedAt) {
      proof = { asked: performance.now(), missing: this.#callRoll(turn) }
      this.#proofs.set(server, proof)
    }
    try {
      const missing = await proof.missing
      this.#trusted(server)
      return missing
    } catch (thrown) {
      const { failure, message } = directoryError(thrown)
      if (failure === 'connection') throw thrown
      this.#doubtedAt = performance.now()
      if (!this.#doubtful.has(server)) {
        this.#doubtful.add(server)
        this.#log.warn(`directory ${server.name}: unknown recipients are deferred: ${message}`)
      }
      throw new DirectoryError('unproven', message)
    }
  }

  #trusted(server: Server): void {
    // While a list is being filled the one and the other come by turns.
    if (!this.#doubtful.has(server) || performance.now() - this.#doubtedAt < CALM) return
    this.#doubtful.delete(server)
    this.#log.notice(`directory ${server.name}: as it should be`)
  }

  async #callRoll(turn: Turn): Promise<ReadonlySet<string>> {
    const rolls = this.#witnesses.map((witness) => witness.roll())
    const missing = new Set<string>()
    let isAnybodyThere = false
    if (rolls.some((roll) => roll.length > 0)) {
      const addresses = rolls.map((roll) => roll.map(({ address }) => address))
      const shown = await this.#keysShown(turn, this.#search.forAddresses([], addresses))
      for (const [base, roll] of rolls.entries()) {
        const present = roll.filter(({ key }) => shown[base]?.has(key))
        if (roll.length >= QUORUM && present.length * 2 < roll.length) {
          throw lost(`only ${present.length} of ${roll.length} addresses that were found before`)
        }
        for (const { key } of roll) if (!shown[base]?.has(key)) missing.add(key)
        const [first] = present
        this.#witnesses[base]?.replace(first)
        isAnybodyThere ||= first !== undefined
      }
    }
    if (!isAnybodyThere) await this.#findAnyone(turn)
    return missing
  }

  async #findAnyone(turn: Turn): Promise<void> {
    const shown = await this.#keysShown(turn, this.#search.forAnyone())
    let isAnybodyThere = false
    for (const [base, keys] of shown.entries()) {
      const [first] = keys.values()
      this.#witnesses[base]?.replace(first)
      isAnybodyThere ||= first !== undefined
    }
    if (!isAnybodyThere) throw lost('no entry with an address')
  }

  /**
   * @returns for each search the addresses that it showed, by the form that compares
   * @throws DirectoryError when it cannot be known whether there are more
   */
  async #keysShown(turn: Turn, searches: readonly Buffer[]): Promise<Map<string, Known>[]> {
    const results = await turn.search(searches)
    const shown = results.map((result) => {
      const addresses = hasEntries(result)
        ? result.entries.flatMap((entry) => addressesOf(entry, this.#attributes))
        : []
      return new Map(
        addresses.map((address) => {
          const key = addressKey(address)
          return [key, { key, address }]
        }),
      )
    })
    if (shown.every(({ size }) => size === 0)) requireSuccess(results.filter(isNoLimit))
    return shown
  }

  #warnOfSeveral(key: string, holders: readonly Entry[]): void {
    const names = new Map(holders.map(({ dn }) => [dn.toLowerCase(), printable(dn)]))
    if (names.size < 2) return
    this.#warnOnce(`${key} is held by several entries: ${[...names.values()].join(' and ')}`)
  }

  #warnOfDeferral(failure: Failure, message: string): void {
    if (this.#deferred.has(failure)) return
    this.#deferred.set(failure, true)
    this.#log.warn(`a recipient is deferred: ${message}`)
  }

  #warnOnce(text: string): void {
    if (this.#warned.has(text)) return
    this.#warned.set(text, true)
    this.#log.warn(text)
  }
}

const lost = (what: string) =>
  new DirectoryError(
    'unproven',
    `it shows ${what}: is it empty, or are base, filter or rights wrong?`,
  )

function withoutSpaces(text: string): string {
  return text.replace(/\s+/g, '')
}

// The list as the directory has it now: every question is a search. An address is in the list when an
// entry that came back really holds it, and it is not when a server that could have found it, and shows
// what it should show, has no such entry. Whatever lies between is unavailable.
import { LRUCache } from 'lru-cache'
import type { Recipient } from '../routing/recipient'
import type { GalSettings, LdapSettings } from '../settings/settings'
import { Absence, type Asked } from './absence'
import { recipientKey, spellings, valueWithKey } from './address-key'
import {
  ABSENT,
  type AddressList,
  FOUND,
  FOUND_AUTHENTICATED,
  type GalAnswer,
} from './address-list'
import { AddressSearch, SIZE_LIMIT } from './directory/address-search'
import type { Connection, Result } from './directory/connection'
import { Directory } from './directory/directory'
import {
  DirectoryError,
  directoryError,
  type Failure,
  printable,
} from './directory/directory-error'
import type { Entry } from './directory/entry'
import { addressesOf, isTrue, lowerCaseNames } from './directory/entry-addresses'
import type { ServerReport } from './directory/health'
import { mayHoldRecipients, referredText } from './directory/references'
import { isCutShort, remainingValues } from './directory/remaining-values'
import { readSearchable, type Searchable } from './directory/searchable'
import type { Server } from './directory/server'
import { hasEntries, isNoLimit, requireSuccess, requireWhole, type Turn } from './directory/turn'
import type { Known } from './directory/witness'
import { type Inspection, inspectHolder } from './inspection'
import type { Log } from './log'
import { ReferredLists } from './referred'

export type { Holder, Inspection } from './inspection'

/** Compares as loosely as any directory does: without case, accents, width and ligatures. */
const LOOSELY = new Intl.Collator('und', { sensitivity: 'base' })

/** What is asked of a server for one recipient below one base. */
interface Wanted {
  readonly key: string
  /** All that the search is for, the witness's among them. */
  readonly addresses: readonly string[]
}

/** What a server showed for one recipient. */
interface Shown {
  readonly holders: Entry[]
  /** Below each base where somebody was found before, the witness was shown. */
  readonly isWitnessed: boolean
  /** For each base, where else the server says one must ask. */
  readonly references: readonly (readonly string[])[]
}

/** Recipients that are deferred for the same kind of reason are one line in the log in so long a time. */
const SAID_FOR = 60_000
/** Schemas are large, and some attributes are not indexed, milliseconds. */
const PATIENCE = 15_000
/** The log has them since they began. */
const SAID_ALREADY: ReadonlySet<Failure> = new Set<Failure>([
  'connection',
  'credentials',
  'waiting',
  'unproven',
])

export class LiveList implements AddressList {
  readonly #gal: GalSettings
  readonly #ldap: LdapSettings
  readonly #log: Log
  readonly #directory: Directory
  readonly #flag: string
  /** By the names as they are in the settings, and as servers have them. */
  readonly #asked = new Map<string, Asked>()
  readonly #asConfigured: Asked
  readonly #absence: Absence
  readonly #referred: ReferredLists<LiveList>
  readonly #said = new LRUCache<string, true>({ max: 1000 })
  readonly #deferred = new LRUCache<Failure, true>({ max: 10, ttl: SAID_FOR })

  /** @param steps how many references led here */
  constructor(gal: GalSettings, ldap: LdapSettings, log: Log, steps = 0) {
    this.#gal = gal
    this.#ldap = ldap
    this.#log = log
    this.#asConfigured = this.#askedBy(gal.attributes, gal.attributes)
    this.#directory = new Directory(ldap, this.#asConfigured.search.forNobody(), log, {
      onOpen: (server, connection) =>
        server.searchable.renew(() => this.#readSearchable(server, connection)),
    })
    this.#absence = new Absence(ldap.base, log, (text) => this.#warnOfDeferral('unproven', text))
    this.#referred = new ReferredLists(
      ldap,
      steps,
      (settings) => new LiveList(gal, settings, log, steps + 1),
    )
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
        const { search, names } = this.#askedOf(turn)
        const asked = { key: recipientKey(recipient), attributes: names, flag: this.#flag, search }
        const inspected = holders.map((entry) => inspectHolder(entry, asked, turn))
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

  async close(): Promise<void> {
    await Promise.all([this.#directory.close(), this.#referred.close()])
  }

  report(): ServerReport[] {
    return this.#directory.report()
  }

  #askedBy(attributes: readonly string[], shownAs: readonly string[]): Asked {
    const name = `${attributes.join(' ')}: ${shownAs.join(' ')}`
    const known = this.#asked.get(name)
    if (known) return known
    const asked = {
      search: new AddressSearch({ ...this.#gal, attributes: [...attributes] }, this.#ldap),
      names: lowerCaseNames(shownAs),
    }
    this.#asked.set(name, asked)
    return asked
  }

  #askedOf({ server }: Turn): Asked {
    const { current } = server.searchable
    return current ? this.#askedBy(current.attributes, current.shownAs) : this.#asConfigured
  }

  /**
   * @returns the entries that hold the address; none when the directory has shown that it has none
   * @throws DirectoryError when neither is certain
   */
  async #holders(recipient: Recipient, turn: Turn): Promise<Entry[]> {
    const first = await this.#shown(recipient, turn)
    if (first.holders.length > 0) return first.holders
    const searchable = await this.#searchable(turn)
    if (searchable.caseRules.length > 0) {
      const holders = await this.#inAnyCase(recipient, turn, searchable)
      if (holders.length > 0) return holders
    }
    const elsewhere = await this.#elsewhere(recipient, turn, first.references, searchable)
    if (elsewhere.length > 0) return elsewhere
    const [doubt] = searchable.doubts
    if (doubt) throw new DirectoryError('unproven', doubt.text)
    const key = recipientKey(recipient)
    const missingSince = this.#absence.missingSince(key)
    if (first.isWitnessed && missingSince === undefined) {
      this.#absence.trusted(turn.server)
      return []
    }
    const missing = await this.#absence.prove(turn, this.#askedOf(turn))
    // That shows what the server has now, not what it had when it was asked for the address.
    const again = await this.#shown(recipient, turn)
    if (again.holders.length > 0) return again.holders
    if (!again.isWitnessed) {
      throw new DirectoryError('unproven', 'it shows entries at one moment and not at the next')
    }
    if (missingSince !== undefined) this.#absence.requireGone(key, missingSince, missing)
    return []
  }

  /** @throws DirectoryError when it cannot be known */
  #searchable(turn: Turn): Promise<Searchable> {
    const { server, connection } = turn
    return server.searchable.of(turn, () => this.#readSearchable(server, connection))
  }

  async #readSearchable({ searchable, name }: Server, connection: Connection): Promise<Searchable> {
    const { current: before } = searchable
    const now = await readSearchable(connection, this.#gal, this.#ldap, PATIENCE)
    const said = new Set(before?.doubts.map(({ text }) => text))
    for (const { text } of now.doubts) {
      if (!said.has(text)) {
        this.#log.warn(`directory ${name}: unknown recipients are deferred: ${text}`)
      }
    }
    if (said.size > 0 && now.doubts.length === 0) {
      this.#log.notice(`directory ${name}: all attributes can be searched for`)
    }
    if (now.dropped.length > 0) {
      this.#sayOnce('notice', `directory ${name} has no ${now.dropped.join(', ')}: not asked for`)
    }
    return now
  }

  /** Entries that hold the address in another case, where attributes compare with it. */
  async #inAnyCase(recipient: Recipient, turn: Turn, searchable: Searchable): Promise<Entry[]> {
    const { search, names } = this.#askedOf(turn)
    const key = recipientKey(recipient)
    const addresses = spellings(recipient)
    const results = await turn.search(search.forAnyCase(addresses, searchable.caseRules))
    const entries = results.flatMap((result) => (hasEntries(result) ? result.entries : []))
    const holders = entries.filter((entry) => valueWithKey(entry, key, names) !== undefined)
    if (holders.length > 0) return holders
    for (const entry of entries) {
      const wanted = { key, addresses }
      if (await this.#holdsUnseen(entry, wanted, turn)) return [entry]
    }
    requireSuccess(results)
    return []
  }

  /**
   * Entries that hold the address on servers which this one refers to.
   * @throws DirectoryError when these cannot be asked
   */
  async #elsewhere(
    recipient: Recipient,
    turn: Turn,
    references: Shown['references'],
    { isActiveDirectory }: Searchable,
  ): Promise<Entry[]> {
    const holders: Entry[] = []
    for (const [place, urls] of references.entries()) {
      const base = this.#ldap.base[place] ?? ''
      for (const url of urls) {
        const { list, why } = this.#referred.listFor(url, base)
        if (!list) {
          const text = referredText(base, url, why, isActiveDirectory)
          this.#sayOnce('warn', `unknown recipients are deferred: ${text}`)
          throw new DirectoryError('unproven', text)
        }
        const asked = list.#directory.ask((other) => list.#holders(recipient, other))
        holders.push(...(await turn.within(asked)))
        if (holders.length > 0) return holders
      }
    }
    return holders
  }

  /** @throws DirectoryError when it cannot be known whether an entry that came back holds the address */
  async #shown(recipient: Recipient, turn: Turn): Promise<Shown> {
    const asked = this.#askedOf(turn)
    const key = recipientKey(recipient)
    const own = spellings(recipient)
    const witnesses = this.#absence.witnesses.map(({ current }) => current)
    const beside = witnesses.map((witness) => (witness ? [witness] : []))
    const { isLimited } = turn.server
    const results = await turn.search(asked.search.forAddresses(own, isLimited ? [] : beside))
    const holders: Entry[] = []
    const others: [Entry, Wanted][] = []
    const shown = new Set<Known>()
    for (const [base, result] of results.entries()) {
      if (!hasEntries(result)) continue
      const witness = witnesses[base]
      const wanted = { key, addresses: witness ? [...own, witness.address] : own }
      for (const entry of result.entries) {
        const held = valueWithKey(entry, key, asked.names)
        if (held) {
          this.#absence.witnesses[base]?.found({ ...held, key }, !isCutShort(entry))
          holders.push(entry)
          continue
        }
        const isWitness = witness && valueWithKey(entry, witness.key, asked.names) !== undefined
        if (isWitness) shown.add(witness)
        if (!isWitness || isCutShort(entry)) others.push([entry, wanted])
      }
    }
    for (const [base, { leftOut }] of results.entries()) {
      const witness = witnesses[base]
      // It may have grown larger than is read.
      if (leftOut && witness && !shown.has(witness))
        this.#absence.witnesses[base]?.replace(undefined)
    }
    if (holders.length === 0) {
      requireWhole(results)
      if (!turn.server.searchable.current) {
        // It may have other names for the attributes.
        await this.#searchable(turn)
        if (this.#askedOf(turn) !== asked) return this.#shown(recipient, turn)
      }
      const isCut = results.some((one) => !isNoLimit(one) && one.entries.length < SIZE_LIMIT)
      if (isCut && !isLimited) {
        turn.server.isLimited = true
        return this.#shown(recipient, turn)
      }
      for (const [entry, wanted] of others) {
        if (await this.#holdsUnseen(entry, wanted, turn)) holders.push(entry)
      }
    }
    if (holders.length === 0) {
      requireSuccess(results)
      if (isLimited) {
        const alone = await turn.search(asked.search.forAddresses([], beside))
        for (const [base, { entries }] of alone.entries()) {
          const one = witnesses[base]
          const isShown = (entry: Entry) => one && valueWithKey(entry, one.key, asked.names)
          if (one && entries.some(isShown)) shown.add(one)
        }
      }
    }
    const known = witnesses.filter((witness) => witness !== undefined)
    return {
      holders,
      isWitnessed: known.length > 0 && known.every((one) => shown.has(one)),
      references: holders.length > 0 ? [] : results.map(leadingElsewhere),
    }
  }

  #answer(recipient: Recipient, holders: readonly Entry[]): GalAnswer {
    if (holders.length === 0) return ABSENT
    if (holders.length > 1) this.#warnOfSeveral(recipientKey(recipient), holders)
    // Where several disagree, the mail system knows which one it means.
    const flagged = this.#flag !== '' && holders.every((entry) => isTrue(entry, this.#flag))
    return flagged ? FOUND_AUTHENTICATED : FOUND
  }

  /**
   * Whether an entry that came back without showing the address holds it nevertheless.
   * @throws DirectoryError when that cannot be known
   */
  async #holdsUnseen(entry: Entry, { key, addresses }: Wanted, turn: Turn): Promise<boolean> {
    const { search, names } = this.#askedOf(turn)
    if (isCutShort(entry)) {
      const rest = await remainingValues(entry, search, turn)
      return valueWithKey(rest, key, names) !== undefined
    }
    const asked = addresses.map(withoutSpaces)
    const alike = addressesOf(entry, names)
      .map(withoutSpaces)
      .some((shown) => asked.some((address) => LOOSELY.compare(shown, address) === 0))
    if (alike) return false
    const name = printable(entry.dn)
    const text = `${name} came for ${key} without showing it: are its addresses readable?`
    this.#sayOnce('warn', text)
    throw new DirectoryError('unproven', text)
  }

  #warnOfSeveral(key: string, holders: readonly Entry[]): void {
    const names = new Map(holders.map(({ dn }) => [dn.toLowerCase(), printable(dn)]))
    if (names.size < 2) return
    this.#sayOnce('warn', `${key} is held by several entries: ${[...names.values()].join(' and ')}`)
  }

  #warnOfDeferral(failure: Failure, message: string): void {
    if (this.#deferred.has(failure)) return
    this.#deferred.set(failure, true)
    this.#log.warn(`a recipient is deferred: ${message}`)
  }

  #sayOnce(level: 'warn' | 'notice', text: string): void {
    if (this.#said.has(text)) return
    this.#said.set(text, true)
    this.#log[level](text)
  }
}

const leadingElsewhere = ({ references }: Result) =>
  references.length > 0 ? mayHoldRecipients(references) : []

function withoutSpaces(text: string): string {
  return text.replace(/\s+/g, '')
}

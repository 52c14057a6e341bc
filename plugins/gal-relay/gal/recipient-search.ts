// The searches for one recipient on one server: which entries it returns, which of them hold the
// address, and which attributes it can search at all.

import type { Connection } from '../ldap/connection'
import {
  ADMIN_LIMIT_EXCEEDED,
  DirectoryError,
  directoryError,
  printable,
} from '../ldap/directory-error'
import type { Entry } from '../ldap/entry'
import type { Result } from '../ldap/search-result'
import type { Server } from '../ldap/server'
import { hasEntries, isNoLimit, requireSuccess, requireWhole } from '../ldap/turn'
import type { Log } from '../log'
import type { Recipient } from '../routing/recipient'
import { recipientKey, spellings, valueWithKey } from './address-key'
import { AddressSearch, SIZE_LIMIT } from './directory/address-search'
import { addressesOf } from './directory/entry-addresses'
import { type ListDefinition, underOurNames, withAttributes } from './directory/list-definition'
import { mayHoldRecipients } from './directory/references'
import { isCutShort, remainingValues } from './directory/remaining-values'
import { readSearchable, type Searchable } from './directory/searchable'
import type { ListTurn, ServerKnowledge } from './directory/server-knowledge'
import type { Known, Witness } from './directory/witness'
import type { Notices } from './notices'

/** Compares as loosely as any directory does, ignoring case, accents, width and ligatures. */
let loosely: Intl.Collator | undefined
function isLooselyEqual(one: string, other: string): boolean {
  loosely ??= new Intl.Collator('und', { sensitivity: 'base' })
  return loosely.compare(one, other) === 0
}

/** What the search for one recipient below one base looks for. */
interface Wanted {
  readonly key: string
  /** All addresses that the search is for, including the witness's. */
  readonly addresses: readonly string[]
}

/** What a server returned for one recipient. */
export interface Shown {
  readonly holders: readonly Entry[]
  /** Whether the witness was returned below each base where an address was found before. */
  readonly isWitnessed: boolean
  /** For each base, the URLs that the server says must be searched as well. */
  readonly references: readonly (readonly string[])[]
}

/** Milliseconds; long, because schemas are large and some attributes are not indexed. */
const PATIENCE = 15_000
/** A server that shows all it should is asked over connections that are up to so many milliseconds old. */
const LONGEST_BOUND = 600_000

export class RecipientSearch {
  readonly #list: ListDefinition
  readonly #timeout: number
  readonly #witnesses: readonly Witness[]
  readonly #log: Log
  readonly #notices: Notices
  /** By attribute names; only a few servers use other names than the settings. */
  readonly #searches = new Map<string, AddressSearch>()
  readonly #current = new WeakMap<Searchable, AddressSearch>()
  readonly #asConfigured: AddressSearch

  /**
   * @param timeout milliseconds for a search
   * @param witnesses one for each base
   */
  constructor(
    list: ListDefinition,
    timeout: number,
    witnesses: readonly Witness[],
    log: Log,
    notices: Notices,
  ) {
    this.#list = list
    this.#timeout = timeout
    this.#witnesses = witnesses
    this.#log = log
    this.#notices = notices
    this.#asConfigured = this.#by(list.attributes, list.attributes)
  }

  /** Searches, one of which every server must answer with success before it is asked for recipients. */
  get check(): readonly Buffer[] {
    return this.#asConfigured.forNobody()
  }

  /** The same for servers that find those too much. */
  get checkSingly(): readonly Buffer[] {
    return this.#asConfigured.byEachAttribute()
  }

  /** Searches by the server's own attribute names, or the configured ones until those are known. */
  of({ server }: ListTurn): AddressSearch {
    const { current } = server.knowledge.searchable
    if (!current) return this.#asConfigured
    const known = this.#current.get(current)
    if (known) return known
    const search = this.#by(current.attributes, current.shownAs)
    this.#current.set(current, search)
    return search
  }

  #by(attributes: readonly string[], shownAs: readonly string[]): AddressSearch {
    const name = `${attributes.join(' ')}: ${shownAs.join(' ')}`
    const known = this.#searches.get(name)
    if (known) return known
    const search = new AddressSearch(withAttributes(this.#list, attributes, shownAs), this.#timeout)
    this.#searches.set(name, search)
    return search
  }

  /**
   * Reads again what can be searched for, after the server has come back or been replaced by another.
   * @throws DirectoryError if that cannot be determined
   */
  renew(server: Server<ServerKnowledge>, connection: Connection): Promise<void> {
    return server.knowledge.searchable.renew(() => this.#readSearchable(server, connection))
  }

  /** @throws DirectoryError if that cannot be determined */
  searchable(turn: ListTurn): Promise<Searchable> {
    const { server } = turn
    return server.knowledge.searchable.of(turn, async () =>
      this.#readSearchable(server, await this.#newestConnection(turn)),
    )
  }

  /** Servers may judge rights and limits at the bind: what is allowed since then only a new one shows. */
  async #newestConnection({ server, connection }: ListTurn): Promise<Connection> {
    const { current } = server.knowledge.searchable
    try {
      return await server.newestConnection(current?.doubts.length ? 0 : LONGEST_BOUND)
    } catch (thrown) {
      const { failure, message } = directoryError(thrown)
      if (failure === 'credentials' || failure === 'waiting') {
        this.#notices.once('warn', `directory ${server.name}: no new connection: ${message}`)
      }
      return connection
    }
  }

  async #readSearchable(
    { knowledge, name }: Server<ServerKnowledge>,
    connection: Connection,
  ): Promise<Searchable> {
    const { current: before } = knowledge.searchable
    const now = await readSearchable(connection, this.#list, PATIENCE, before)
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
      this.#notices.once(
        'notice',
        `directory ${name} has no ${now.dropped.join(', ')}: not asked for`,
      )
    }
    return now
  }

  /** Finds the address in another case, in attributes that compare case-sensitively. */
  async inAnyCase(recipient: Recipient, turn: ListTurn, searchable: Searchable): Promise<Entry[]> {
    const search = this.of(turn)
    const { names } = search.list
    const key = recipientKey(recipient)
    const addresses = spellings(recipient)
    const results = await turn.search(search.forAnyCase(addresses, searchable.caseRules))
    const entries = results.flatMap((result) => (hasEntries(result) ? result.entries : []))
    const holders = entries.filter((entry) => valueWithKey(entry, key, names) !== undefined)
    if (holders.length > 0) return this.#named(holders, turn)
    for (const entry of entries) {
      const wanted = { key, addresses }
      if (await this.#holdsUnseen(entry, wanted, turn)) return this.#named([entry], turn)
    }
    requireSuccess(results)
    return []
  }

  /**
   * Searches for the recipient, and below each base for the witness with it.
   * @throws DirectoryError if it is uncertain whether a returned entry holds the address
   */
  async find(recipient: Recipient, turn: ListTurn): Promise<Shown> {
    const asked = this.of(turn)
    const { names } = asked.list
    const { knowledge } = turn.server
    const key = recipientKey(recipient)
    const own = spellings(recipient)
    const witnesses = this.#witnesses.map(({ current }) => current)
    const beside = witnesses.map((witness) => (witness ? [witness] : []))
    const { isLimited } = knowledge
    const results = await turn.search(asked.forAddresses(own, isLimited ? [] : beside))
    const holders: Entry[] = []
    const others: [Entry, Wanted][] = []
    const shown = new Set<Known>()
    for (const [base, result] of results.entries()) {
      if (!hasEntries(result)) continue
      const witness = witnesses[base]
      const wanted = { key, addresses: witness ? [...own, witness.address] : own }
      for (const entry of result.entries) {
        const held = valueWithKey(entry, key, names)
        if (held) {
          this.#witnesses[base]?.found({ ...held, key, dn: entry.dn }, !isCutShort(entry))
          holders.push(entry)
          continue
        }
        const isWitness = witness && valueWithKey(entry, witness.key, names) !== undefined
        if (isWitness) shown.add(witness)
        if (!isWitness || isCutShort(entry)) others.push([entry, wanted])
      }
    }
    for (const [base, { leftOut }] of results.entries()) {
      const witness = witnesses[base]
      // The witness's entry may have grown beyond the size that is read.
      if (leftOut && witness && !shown.has(witness)) this.#witnesses[base]?.replace(undefined)
    }
    if (holders.length === 0 && results.some(({ code }) => code === ADMIN_LIMIT_EXCEEDED)) {
      for (const one of await turn.search(asked.byEachAttribute(own))) {
        // Not remembered: as long as the server exceeds its limit, no address is called absent.
        const entries = hasEntries(one) ? one.entries : []
        holders.push(...entries.filter((entry) => valueWithKey(entry, key, names) !== undefined))
      }
      // The limit may have been raised.
      if (holders.length === 0) await this.searchable(turn)
    }
    if (holders.length === 0) {
      requireWhole(results)
      if (!knowledge.searchable.current) {
        // The server may have other names for the attributes.
        await this.searchable(turn)
        if (this.of(turn) !== asked) return this.find(recipient, turn)
      }
      const isCut = results.some((one) => !isNoLimit(one) && one.entries.length < SIZE_LIMIT)
      if (isCut && !isLimited) {
        knowledge.isLimited = true
        return this.find(recipient, turn)
      }
      const { current } = knowledge.searchable
      // Another entry may show the address in another case; then it does not matter what these hide.
      if (others.length > 0 && current && current.caseRules.length > 0) {
        holders.push(...(await this.inAnyCase(recipient, turn, current)))
      }
      if (holders.length === 0) {
        for (const [entry, wanted] of others) {
          if (await this.#holdsUnseen(entry, wanted, turn)) holders.push(entry)
        }
      }
    }
    if (holders.length === 0) {
      requireSuccess(results)
      if (isLimited) {
        const alone = await turn.search(asked.forAddresses([], beside))
        for (const [base, { entries }] of alone.entries()) {
          const one = witnesses[base]
          const isShown = (entry: Entry) => one && valueWithKey(entry, one.key, names)
          if (one && entries.some(isShown)) shown.add(one)
        }
      }
    }
    const known = witnesses.filter((witness) => witness !== undefined)
    return {
      holders: this.#named(holders, turn),
      isWitnessed: known.length > 0 && known.every((one) => shown.has(one)),
      references: holders.length > 0 ? [] : results.map(leadingElsewhere),
    }
  }

  /** Gives attributes other than addresses the names that the settings use for them. */
  #named(holders: Entry[], { server }: ListTurn): Entry[] {
    const names = server.knowledge.searchable.current?.namedOtherwise
    return names?.size ? holders.map((entry) => underOurNames(entry, names)) : holders
  }

  /**
   * Whether an entry that was returned without showing the address holds it nevertheless.
   * @throws DirectoryError if that cannot be determined
   */
  async #holdsUnseen(entry: Entry, { key, addresses }: Wanted, turn: ListTurn): Promise<boolean> {
    const search = this.of(turn)
    const { names } = search.list
    if (isCutShort(entry)) {
      const rest = await remainingValues(entry, search, turn)
      return valueWithKey(rest, key, names) !== undefined
    }
    const asked = addresses.map(withoutSpaces)
    const alike = addressesOf(entry, names)
      .map(withoutSpaces)
      .some((shown) => asked.some((address) => isLooselyEqual(shown, address)))
    if (alike) return false
    const name = printable(entry.dn)
    const text = `${name} was returned for ${key} but does not show it: are its addresses readable?`
    this.#notices.once('warn', text)
    throw new DirectoryError('unproven', text)
  }
}

const leadingElsewhere = ({ references }: Result) =>
  references.length > 0 ? mayHoldRecipients(references) : []

function withoutSpaces(text: string): string {
  return text.replace(/\s+/g, '')
}

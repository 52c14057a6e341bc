// Reads the list itself: every entry that counts, or only those that may have changed. Both use the same
// bases, filter and attributes as the look-up of a single address, so an entry is in the list if and only
// if the live look-up would find it.

import type { Connection } from '../../ldap/connection'
import {
  DirectoryError,
  NO_SUCH_OBJECT,
  resultError,
  SIZE_LIMIT_EXCEEDED,
} from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { and, atLeast, equalsBytes, or } from '../../ldap/filter'
import { CUT_SHORT } from '../../ldap/limits'
import { PAGED_RESULTS, pagedSearch } from '../../ldap/paged-search'
import { type RootDse, valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import { AddressSearch } from './address-search'
import { type ListDefinition, withAddress } from './list-definition'
import { mayHoldRecipients } from './references'
import { isCutShort, remainingValues } from './remaining-values'

/**
 * Takes entries one by one; must not throw.
 * @param base the index of the base below which the entry was found
 */
export type TakeEntry = (id: Buffer, entry: Entry, base: number) => void

/**
 * Attributes that identify an entry for its whole life, wherever it is moved: those of Active Directory,
 * 389 Directory Server (which may have the next one too, but reports changes by its own) and RFC 4530.
 */
const IDS = ['objectGUID', 'nsUniqueId', 'entryUUID']

/** How long a server may stay silent in the middle of a large search, milliseconds. */
export const PATIENCE = 60_000
/** Entries asked for by id in one search. */
const AT_A_TIME = 50

export class WholeList {
  /** How many references to other servers have come so far that may lead to recipients. */
  references = 0
  readonly #search: AddressSearch
  readonly #filter: Buffer
  readonly #wanted: readonly string[]
  readonly #paged: boolean

  /** @param timeout time allowed for a request for more values of one entry, milliseconds */
  constructor(
    readonly connection: Connection,
    { controls }: RootDse,
    readonly definition: ListDefinition,
    readonly timeout: number,
  ) {
    this.#search = new AddressSearch(definition, timeout)
    this.#filter = withAddress(definition)
    this.#wanted = [...definition.wanted, ...IDS]
    this.#paged = controls.has(PAGED_RESULTS)
  }

  get bases(): readonly string[] {
    return this.definition.bases
  }

  /** @param more additional attributes to request */
  searches(more: readonly string[] = []): Buffer[] {
    return this.bases.map((base) => this.#request(base, this.#filter, [...this.#wanted, ...more]))
  }

  /** Reads all entries; one that is below several bases comes several times. @throws DirectoryError */
  async readAll(take: TakeEntry, more: readonly string[] = []): Promise<void> {
    for (const [base, search] of this.searches(more).entries()) await this.#read(search, base, take)
  }

  /** Reads the entries in which this attribute is at least this value, and the attribute with them. */
  async readChangedSince(attribute: string, value: string, take: TakeEntry): Promise<void> {
    const filter = and(this.#filter, atLeast(attribute, value))
    for (const [place, base] of this.bases.entries()) {
      await this.#read(this.#request(base, filter, [...this.#wanted, attribute]), place, take)
    }
  }

  /** Reads the ids of all entries. @throws DirectoryError */
  async readIds(take: (id: Buffer, base: number, dn: string) => void): Promise<void> {
    for (const [place, base] of this.bases.entries()) {
      const takeId: TakeEntry = (id, { dn }) => take(id, place, dn)
      await this.#read(this.#request(base, this.#filter, IDS), place, takeId)
    }
  }

  /** Reads one entry as it is now; undefined if it is not in the list. @throws DirectoryError */
  async readOne(dn: string): Promise<Entry | undefined> {
    const attributes = attributeList(this.#wanted)
    const search = searchRequest({ base: dn, scope: SCOPE.base, filter: this.#filter, attributes })
    const { code, diagnostic, entries } = await this.connection.search(search, PATIENCE)
    if (code === NO_SUCH_OBJECT) return undefined
    if (code !== 0) throw resultError(code, diagnostic)
    return entries[0]
  }

  /**
   * Reads those of these entries that are in the list now; the others are not, or no longer, in it.
   * @param attribute the attribute that holds the ids
   * @throws DirectoryError
   */
  async readThese(attribute: string, ids: readonly Buffer[], take: TakeEntry): Promise<void> {
    for (let at = 0; at < ids.length; at += AT_A_TIME) {
      const some = ids.slice(at, at + AT_A_TIME)
      const filter = and(or(...some.map((id) => equalsBytes(attribute, id))), this.#filter)
      for (const [place, base] of this.bases.entries()) {
        await this.#read(this.#request(base, filter, this.#wanted), place, take)
      }
    }
  }

  /**
   * Whether entries of the list are below this one, wherever it is: when it is moved, they move with it,
   * and no server reports them.
   * @throws DirectoryError
   */
  async hasBelow(dn: string): Promise<boolean> {
    const filter = this.#filter
    const attributes = attributeList(['1.1'])
    const search = searchRequest({
      base: dn,
      scope: SCOPE.subtree,
      filter,
      attributes,
      sizeLimit: 2,
    })
    const { code, diagnostic, entries } = await this.connection.search(search, PATIENCE)
    // An entry that has gone in the meantime has nothing below it.
    if (code === NO_SUCH_OBJECT) return false
    if (code !== 0 && code !== SIZE_LIMIT_EXCEEDED) throw resultError(code, diagnostic)
    return entries.some((entry) => entry.dn.toLowerCase() !== dn.toLowerCase())
  }

  /** Adds the values of large attributes that the server has held back. */
  async complete(entry: Entry): Promise<Entry> {
    if (!isCutShort(entry)) return entry
    const rest = await remainingValues(entry, this.#search, {
      search: (searches) =>
        Promise.all(searches.map((one) => this.connection.search(one, this.timeout))),
    })
    return { dn: entry.dn, attributes: [...entry.attributes, ...rest.attributes] }
  }

  async #read(search: Buffer, base: number, take: TakeEntry): Promise<void> {
    let cutShort: Entry[] = []
    const entry = (one: Entry) => {
      if (!isCutShort(one)) return take(idOf(one), one, base)
      if (cutShort.push(one) <= CUT_SHORT) return
      const text = `more than ${CUT_SHORT} entries at a time show only some of their values`
      throw new DirectoryError('oversize', text)
    }
    const afterPage = async () => {
      for (const one of cutShort) take(idOf(one), await this.complete(one), base)
      cutShort = []
    }
    const options = { paged: this.#paged, patience: PATIENCE, afterPage }
    const reference = (urls: readonly string[]) => {
      this.references += mayHoldRecipients(urls).length
    }
    await pagedSearch(this.connection, search, { entry, reference }, options)
  }

  #request(base: string, filter: Buffer, attributes: readonly string[]): Buffer {
    return searchRequest({
      base,
      scope: SCOPE.subtree,
      dereference: this.definition.dereference,
      filter,
      attributes: attributeList(attributes),
    })
  }
}

/** What identifies an entry; its DN if the server has no permanent id. */
export function idOf(entry: Entry): Buffer {
  for (const name of IDS) {
    const [id] = valuesOf(entry, name)
    if (id) return id
  }
  if (!entry.dn) throw new DirectoryError('protocol', 'an entry has no name')
  return Buffer.from(entry.dn.toLowerCase())
}

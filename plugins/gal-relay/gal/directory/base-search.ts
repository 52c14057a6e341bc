// Searches below one base that find out what a server lets this account see. They look up no recipients.

import type { Connection } from '../../ldap/connection'
import type { Control } from '../../ldap/controls'
import { printable } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { present } from '../../ldap/filter'
import { attributeList, SCOPE, type Search, searchRequest } from '../../ldap/search-request'
import type { Result } from '../../ldap/search-result'
import type { ListDefinition } from './list-definition'

/** How many entries are examined. */
export const SAMPLE = 20

const NO_ATTRIBUTES = ['1.1'] as const

/** A reason why an address may exist and yet not be found. */
export interface Doubt {
  /** Whether only searches miss the address: a snapshot, which reads all entries, still sees it. */
  readonly isOfSearches: boolean
  /** What is wrong and what to do about it, for people to read. */
  readonly text: string
}

export interface BaseSearchOptions {
  readonly connection: Connection
  readonly list: ListDefinition
  /** Milliseconds for each search. */
  readonly patience: number
}

/** Searches ignore the filter of the settings unless the caller adds it. */
export class BaseSearch {
  constructor(
    readonly options: BaseSearchOptions,
    readonly base: string,
  ) {}

  get list(): ListDefinition {
    return this.options.list
  }

  /** @param subject an attribute or a settings key */
  doubt(subject: string, what: string, isOfSearches = false): Doubt {
    const where = this.list.bases.length > 1 ? ` below ${this.base || 'the top'}` : ''
    return { isOfSearches, text: `${printable(subject)}${where}: ${what}` }
  }

  /** @param what of the entry with this DN */
  doubtOf(subject: string, dn: string, what: string, isOfSearches: boolean): Doubt {
    return this.doubt(subject, `${printable(dn)} ${what}`, isOfSearches)
  }

  /**
   * @param dn DN of an entry that hides something
   * @param what the statement that it neither confirms nor denies, such as `it has it`
   * @param right the missing right, such as `search for it`
   */
  hidden(subject: string, dn: string, what: string, right: string): Doubt {
    const hiding = `${printable(dn)} does not tell this account whether ${what}`
    return this.doubt(subject, `${hiding}: grant it the right to ${right}`)
  }

  find(
    filter: Buffer,
    attributes: readonly string[] = NO_ATTRIBUTES,
    sizeLimit = SAMPLE,
  ): Promise<Result> {
    const request = this.#request({ ...this.#below(filter), sizeLimit }, attributes)
    return this.#connection.search(request, this.options.patience)
  }

  /** Like `find`, with a control that the server must support. */
  async findWith(
    control: Control,
    filter: Buffer,
    attributes: readonly string[],
    sizeLimit: number,
  ): Promise<Entry[]> {
    const { patience } = this.options
    const request = this.#request({ ...this.#below(filter), sizeLimit }, attributes)
    const entries: Entry[] = []
    const entry = (one: Entry) => {
      entries.push(one)
    }
    await this.#connection.stream(request, { entry }, { controls: [control], patience }).result
    return entries
  }

  /** @param dn DN of an entry that the server has returned */
  findAt(
    dn: string,
    filter: Buffer,
    attributes: readonly string[] = NO_ATTRIBUTES,
  ): Promise<Result> {
    const request = this.#request({ base: dn, scope: SCOPE.base, filter }, attributes)
    return this.#connection.search(request, this.options.patience)
  }

  /** Whether a search for the entry with a control, which the server must know, ends with success. */
  async isAnswered(dn: string, control: Control): Promise<boolean> {
    const search = { base: dn, scope: SCOPE.base, filter: present('objectClass') }
    const request = this.#request(search, NO_ATTRIBUTES)
    const { patience } = this.options
    const options = { controls: [control], patience }
    return (await this.#connection.stream(request, { entry() {} }, options).result).code === 0
  }

  /** Those directly below an entry. @param dn of an entry that the server has shown */
  findIn(
    dn: string,
    filter: Buffer,
    attributes: readonly string[],
    sizeLimit: number,
  ): Promise<Result> {
    const search = { base: dn, scope: SCOPE.one, filter, sizeLimit }
    return this.#connection.search(this.#request(search, attributes), this.options.patience)
  }

  get #connection(): Connection {
    return this.options.connection
  }

  #below(filter: Buffer): Omit<Search, 'attributes'> {
    const { dereference } = this.list
    return { base: this.base, scope: SCOPE.subtree, dereference, filter }
  }

  #request(search: Omit<Search, 'attributes'>, attributes: readonly string[]): Buffer {
    const seconds = Math.ceil(this.options.patience / 1000)
    return searchRequest({ ...search, attributes: attributeList(attributes), seconds })
  }
}

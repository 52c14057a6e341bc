// Searches below one base that find out what a server shows, rather than who is there.

import type { Connection } from '../../ldap/connection'
import { printable } from '../../ldap/directory-error'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { Result } from '../../ldap/search-result'
import type { ListDefinition } from './list-definition'

/** Entries that are looked at. */
export const SAMPLE = 20

const NO_ATTRIBUTES = ['1.1'] as const

/** Why an address might be there and not be found. */
export interface Doubt {
  /** Of the look-up alone: whoever reads all entries sees them. */
  readonly isOfSearches: boolean
  /** What is wrong and what to do, for people. */
  readonly text: string
}

/** @param subject an attribute, or a key of the settings */
export function aboutBase(
  { bases }: ListDefinition,
  base: string,
  subject: string,
  what: string,
): string {
  const where = bases.length > 1 ? ` below ${base || 'the top'}` : ''
  return `${printable(subject)}${where}: ${what}`
}

export interface BaseSearchOptions {
  readonly connection: Connection
  readonly list: ListDefinition
  /** Milliseconds for each search. */
  readonly patience: number
}

/** The filter of the settings counts only where the caller adds it. */
export class BaseSearch {
  constructor(
    readonly options: BaseSearchOptions,
    readonly base: string,
  ) {}

  find(
    filter: Buffer,
    attributes: readonly string[] = NO_ATTRIBUTES,
    sizeLimit = SAMPLE,
  ): Promise<Result> {
    const { base } = this
    const { dereference } = this.options.list
    return this.#search({ base, scope: SCOPE.subtree, dereference, filter, sizeLimit }, attributes)
  }

  /** @param dn of an entry that the server has shown */
  findAt(
    dn: string,
    filter: Buffer,
    attributes: readonly string[] = NO_ATTRIBUTES,
  ): Promise<Result> {
    return this.#search({ base: dn, scope: SCOPE.base, filter }, attributes)
  }

  #search(
    search: Omit<Parameters<typeof searchRequest>[0], 'attributes' | 'seconds'>,
    attributes: readonly string[],
  ): Promise<Result> {
    const { connection, patience } = this.options
    const request = searchRequest({
      ...search,
      attributes: attributeList(attributes),
      seconds: Math.ceil(patience / 1000),
    })
    return connection.search(request, patience)
  }
}

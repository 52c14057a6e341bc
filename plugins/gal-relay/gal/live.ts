// The list as the directory has it now: every question is a search. An address is in the list when a
// returned entry really holds it, and it is not when a server that shows entries at all has none with
// it. Whatever lies between is unavailable.

import type { Recipient } from '../routing/recipient'
import type { GalSettings, LdapSettings } from '../settings/settings'
import { addressKey, recipientKey, spellings } from './address-key'
import type { AddressList, GalAnswer } from './address-list'
import { AddressSearch } from './directory/address-search'
import type { Connection } from './directory/connection'
import { Directory } from './directory/directory'
import { directoryError, resultError } from './directory/directory-error'
import type { Entry } from './directory/entry'
import { addressesOf, isTrue } from './directory/entry-addresses'
import type { ServerReport } from './directory/health'
import type { Server } from './directory/server'
import type { Log } from './log'

const SIZE_LIMIT_EXCEEDED = 4
const ABSENT: GalAnswer = { state: 'absent' }
const FOUND: GalAnswer = { state: 'found', authenticatedOnly: false }
const FOUND_AUTHENTICATED: GalAnswer = { state: 'found', authenticatedOnly: true }

export class LiveList implements AddressList {
  readonly #search: AddressSearch
  readonly #directory: Directory
  readonly #attributes: ReadonlySet<string>
  readonly #flag: string

  constructor(gal: GalSettings, ldap: LdapSettings, log: Log) {
    this.#search = new AddressSearch(gal, ldap)
    this.#directory = new Directory(ldap, this.#search.forNobody(), log)
    this.#attributes = new Set(gal.attributes.map((name) => name.toLowerCase()))
    this.#flag = gal.authenticated_only_attribute.toLowerCase()
  }

  start(): void {
    this.#directory.start()
  }

  async lookup(recipient: Recipient): Promise<GalAnswer> {
    const searches = this.#search.forAddress(spellings(recipient))
    const key = recipientKey(recipient)
    try {
      return await this.#directory.ask(async (server, connection, timeout) =>
        this.#answer(key, searches, server, connection, timeout),
      )
    } catch (error) {
      return { state: 'unavailable', reason: directoryError(error).message }
    }
  }

  close(): Promise<void> {
    return this.#directory.close()
  }

  report(): ServerReport[] {
    return this.#directory.report()
  }

  async #answer(
    key: string,
    searches: readonly Buffer[],
    _server: Server,
    connection: Connection,
    timeout: number,
  ): Promise<GalAnswer> {
    const results = await Promise.all(searches.map((one) => connection.search(one, timeout)))
    const holders: Entry[] = []
    for (const { code, entries } of results) {
      if (code !== 0 && code !== SIZE_LIMIT_EXCEEDED) continue
      for (const entry of entries) if (this.#holds(entry, key)) holders.push(entry)
    }
    if (holders.length > 0) {
      return this.#flag && holders.every((entry) => isTrue(entry, this.#flag))
        ? FOUND_AUTHENTICATED
        : FOUND
    }
    for (const { code, diagnostic } of results) {
      if (code !== 0) throw resultError(code, diagnostic)
    }
    return ABSENT
  }

  #holds(entry: Entry, key: string): boolean {
    return addressesOf(entry, this.#attributes).some((address) => addressKey(address) === key)
  }
}

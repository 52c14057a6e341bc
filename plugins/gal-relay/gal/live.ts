// The list as the directory has it now: every question is a search. An address is in the list when an
// entry that came back really holds it, and it is not when a server that shows what it should show
// has no such entry. Whatever lies between is unavailable.
import { LRUCache } from 'lru-cache'
import type { Recipient } from '../routing/recipient'
import type { GalSettings, LdapSettings } from '../settings/settings'
import { addressKey, recipientKey, spellings } from './address-key'
import type { AddressList, GalAnswer } from './address-list'
import { AddressSearch } from './directory/address-search'
import { Directory } from './directory/directory'
import { DirectoryError, directoryError, printable } from './directory/directory-error'
import type { Entry } from './directory/entry'
import { addressesOf, addressIn, baseName, isTrue } from './directory/entry-addresses'
import type { ServerReport } from './directory/health'
import { isCutShort, remainingValues } from './directory/remaining-values'
import type { Server } from './directory/server'
import { hasEntries, requireSuccess, type Turn } from './directory/turn'
import { type Known, Witness } from './directory/witness'
import type { Log } from './log'

const ABSENT: GalAnswer = { state: 'absent' }
const FOUND: GalAnswer = { state: 'found', authenticatedOnly: false }
const FOUND_AUTHENTICATED: GalAnswer = { state: 'found', authenticatedOnly: true }

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

/** What is asked of a server for one recipient. */
interface Wanted {
  readonly key: string
  /** All addresses that the search is for, the witness among them. */
  readonly addresses: readonly string[]
  readonly witness: Known | undefined
}

/** What a server showed for one recipient. */
interface Shown {
  readonly holders: Entry[]
  readonly isWitnessed: boolean
}

/** That a server showed what it should show. */
interface Proof {
  readonly asked: number
  readonly done: Promise<void>
}

export class LiveList implements AddressList {
  readonly #log: Log
  readonly #search: AddressSearch
  readonly #directory: Directory
  readonly #attributes: ReadonlySet<string>
  readonly #flag: string
  readonly #witness = new Witness()
  readonly #proofs = new WeakMap<Server, Proof>()
  readonly #doubtful = new WeakSet<Server>()
  readonly #warned = new LRUCache<string, true>({ max: 1000 })

  constructor(gal: GalSettings, ldap: LdapSettings, log: Log) {
    this.#log = log
    this.#search = new AddressSearch(gal, ldap)
    this.#directory = new Directory(ldap, this.#search.forNobody(), log)
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
    } catch (error) {
      return { state: 'unavailable', reason: directoryError(error).message }
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
    if (first.holders.length > 0 || first.isWitnessed) return first.holders
    await this.#prove(turn)
    // That shows what the server has now, not what it had when it was asked for the address.
    const again = await this.#shown(recipient, turn)
    if (again.holders.length > 0 || again.isWitnessed) return again.holders
    throw new DirectoryError('unproven', 'it shows entries at one moment and not at the next')
  }

  /** @throws DirectoryError when it cannot be known whether an entry that came back holds the address */
  async #shown(recipient: Recipient, turn: Turn): Promise<Shown> {
    const witness = this.#witness.current
    const own = spellings(recipient)
    const addresses = witness ? [...own, witness.address] : own
    const wanted: Wanted = { key: recipientKey(recipient), addresses, witness }
    const results = await turn.search(this.#search.forAddresses(wanted.addresses))
    const entries = results.filter(hasEntries).flatMap((result) => result.entries)
    const holders: Entry[] = []
    const others: Entry[] = []
    let isWitnessed = false
    for (const entry of entries) {
      const held = this.#addressIn(entry, wanted.key)
      if (held !== undefined) {
        if (holders.length === 0) this.#witness.found({ key: wanted.key, address: held })
        holders.push(entry)
        continue
      }
      const isWitness =
        wanted.witness !== undefined && this.#addressIn(entry, wanted.witness.key) !== undefined
      if (isWitness) isWitnessed = true
      if (!isWitness || isCutShort(entry)) others.push(entry)
    }
    if (holders.length === 0) {
      for (const entry of others) {
        if (await this.#holdsUnseen(entry, wanted, turn)) holders.push(entry)
      }
    }
    if (holders.length === 0) requireSuccess(results)
    return { holders, isWitnessed }
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
      const address = addressIn(baseName(attribute), text)
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
   * The server did not show the witness: has it lost its entries?
   * @throws DirectoryError when it may have
   */
  async #prove(turn: Turn): Promise<void> {
    const { server, startedAt } = turn
    let proof = this.#proofs.get(server)
    if (!proof || proof.asked < startedAt) {
      proof = { asked: performance.now(), done: this.#showsEntries(turn) }
      this.#proofs.set(server, proof)
    }
    try {
      await proof.done
      if (this.#doubtful.delete(server))
        this.#log.notice(`directory ${server.name}: as it should be`)
    } catch (thrown) {
      const { failure, message } = directoryError(thrown)
      if (failure === 'connection') throw thrown
      if (!this.#doubtful.has(server)) {
        this.#doubtful.add(server)
        this.#log.warn(`directory ${server.name}: unknown recipients are deferred: ${message}`)
      }
      throw new DirectoryError('unproven', message)
    }
  }

  async #showsEntries(turn: Turn): Promise<void> {
    const roll = this.#witness.roll()
    const results = await turn.search(
      roll.length > 0
        ? this.#search.forAddresses(roll.map(({ address }) => address))
        : this.#search.forAnyone(),
    )
    const shown = new Map<string, Known>()
    for (const entry of results.filter(hasEntries).flatMap((result) => result.entries)) {
      for (const address of addressesOf(entry, this.#attributes)) {
        const key = addressKey(address)
        shown.set(key, { key, address })
      }
    }
    if (shown.size === 0) requireSuccess(results)
    const called = roll.length > 0 ? roll.filter(({ key }) => shown.has(key)) : [...shown.values()]
    const [first] = called
    if (!first || called.length * 2 < roll.length) {
      const what =
        roll.length > 0
          ? `only ${called.length} of ${roll.length} addresses that were found before`
          : 'no entry with an address'
      throw new DirectoryError(
        'unproven',
        `it shows ${what}: is it empty, or are base, filter or rights wrong?`,
      )
    }
    this.#witness.replace(first)
  }

  #warnOfSeveral(key: string, holders: readonly Entry[]): void {
    const names = new Map(holders.map(({ dn }) => [dn.toLowerCase(), printable(dn)]))
    if (names.size < 2) return
    this.#warnOnce(`${key} is held by several entries: ${[...names.values()].join(' and ')}`)
  }

  #warnOnce(text: string): void {
    if (this.#warned.has(text)) return
    this.#warned.set(text, true)
    this.#log.warn(text)
  }
}

function withoutSpaces(text: string): string {
  return text.replace(/\s+/g, '')
}

// The list as the directory has it now: every look-up is a search. An address is found if a
// returned entry really holds it. It is absent if a server that could have found it, and that shows
// what it should show, has no such entry. In every other case the answer is unavailable.
import { Directory } from '../ldap/directory'
import { DirectoryError, directoryError, type Failure, printable } from '../ldap/directory-error'
import type { Entry } from '../ldap/entry'
import type { ServerReport } from '../ldap/health'
import type { Log } from '../log'
import type { Recipient } from '../routing/recipient'
import type { LdapSettings } from '../settings/settings'
import { Absence, requireReachable } from './absence'
import { recipientKey } from './address-key'
import {
  ABSENT,
  type AddressList,
  FOUND,
  FOUND_AUTHENTICATED,
  type GalAnswer,
} from './address-list'
import { isTrue } from './directory/entry-addresses'
import type { ListDefinition } from './directory/list-definition'
import { byPart, referredText } from './directory/references'
import { lackedHere } from './directory/replicas'
import type { Searchable } from './directory/searchable'
import { type ListTurn, newKnowledge, type ServerKnowledge } from './directory/server-knowledge'
import { type Inspection, inspectHolder } from './inspection'
import { mailboxOf } from './mailbox-values'
import { Notices } from './notices'
import { RecipientSearch, type Shown } from './recipient-search'
import { ReferredLists } from './referred'

export type { Holder, Inspection } from './inspection'

/** Failures that were logged when they began. */
const SAID_ALREADY: ReadonlySet<Failure> = new Set<Failure>([
  'connection',
  'credentials',
  'waiting',
  'unproven',
])

export interface LiveListOptions {
  /** Whether it connects to its servers on demand and disconnects while idle; default false. */
  readonly isOnDemand?: boolean
  /** How many references led to this list. */
  readonly steps?: number
}

export class LiveList implements AddressList {
  readonly #list: ListDefinition
  readonly #directory: Directory<ServerKnowledge>
  readonly #search: RecipientSearch
  readonly #absence: Absence
  readonly #referred: ReferredLists<LiveList>
  readonly #notices: Notices

  constructor(
    list: ListDefinition,
    ldap: LdapSettings,
    log: Log,
    { isOnDemand = false, steps = 0 }: LiveListOptions = {},
  ) {
    this.#list = list
    this.#notices = new Notices(log)
    this.#absence = new Absence(list.bases, log, (text) => this.#notices.deferred('unproven', text))
    const { witnesses } = this.#absence
    this.#search = new RecipientSearch(list, ldap.query_timeout, witnesses, log, this.#notices)
    this.#directory = new Directory(ldap, this.#search.check, log, {
      isOnDemand,
      newKnowledge,
      checkSingly: this.#search.checkSingly,
      onOpen: (server, connection) => this.#search.renew(server, connection),
      onAllDown: () => log.error('no directory server can be asked; recipients are deferred'),
    })
    this.#referred = new ReferredLists(ldap, steps, (there) => {
      const options = { isOnDemand, steps: steps + 1 }
      return new LiveList({ ...list, bases: there.base }, there, log, options)
    })
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
      // The reason why no server is up, or why one is doubtful, is logged when that begins.
      if (!SAID_ALREADY.has(failure)) this.#notices.deferred(failure, message)
      return { state: 'unavailable', reason: message }
    }
  }

  /** Like {@link lookup}, with details of how it came about; for people, since it searches more. */
  async inspect(recipient: Recipient): Promise<Inspection> {
    try {
      return await this.#directory.ask(async (turn) => {
        const holders = await this.#holders(recipient, turn)
        const milliseconds = performance.now() - turn.startedAt
        const key = recipientKey(recipient)
        const inspected = holders.map((entry) =>
          inspectHolder(entry, key, this.#search.of(turn), turn),
        )
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

  get isAway(): boolean {
    return this.#directory.isAway
  }

  report(): ServerReport[] {
    return this.#directory.report()
  }

  /**
   * @returns the entries that hold the address; none if the directory has proved that it has none
   * @throws DirectoryError if neither is certain
   */
  async #holders(recipient: Recipient, turn: ListTurn): Promise<readonly Entry[]> {
    const first = await this.#search.find(recipient, turn)
    if (first.holders.length > 0) return first.holders
    const searchable = await this.#search.searchable(turn)
    if (searchable.caseRules.length > 0) {
      const holders = await this.#search.inAnyCase(recipient, turn, searchable)
      if (holders.length > 0) return holders
    }
    const elsewhere = await this.#elsewhere(recipient, turn, first.references, searchable)
    if (elsewhere.length > 0) return elsewhere
    const [doubt] = searchable.doubts
    if (doubt) throw new DirectoryError('unproven', doubt.text)
    if (turn.server.hasReplaced(turn.connection)) {
      throw new DirectoryError('connection', 'a newer connection may show more')
    }
    if (searchable.parts.length > 0) {
      await requireReachable(searchable.parts, turn, this.#search.of(turn))
    }
    this.#requireAsElsewhere(turn.server, searchable)
    const key = recipientKey(recipient)
    const missingSince = this.#absence.noteMissing(key)
    if (first.isWitnessed && missingSince === undefined) {
      this.#absence.endDoubt(turn.server)
      return []
    }
    const missing = await this.#absence.requireComplete(turn, this.#search.of(turn))
    // The proof says what the server has now, not what it had when it was searched for the address.
    const again = await this.#search.find(recipient, turn)
    if (again.holders.length > 0) return again.holders
    if (!again.isWitnessed) {
      throw new DirectoryError('unproven', 'it shows entries at one moment and not at the next')
    }
    if (missingSince !== undefined) {
      await requireReachable(this.#absence.dnsOf(key), turn, this.#search.of(turn))
      this.#absence.requireGone(key, missingSince, missing)
    }
    return []
  }

  /** @throws DirectoryError if the server lacks what others of the directory have */
  #requireAsElsewhere({ name }: ListTurn['server'], searchable: Searchable): void {
    const { servers } = this.#directory
    if (servers.length < 2) return
    const text = lackedHere(
      { name, searchable },
      servers.map((one) => ({ name: one.name, searchable: one.knowledge.searchable.current })),
    )
    if (text === undefined) return
    this.#notices.once('warn', `unknown recipients are deferred: ${text}`)
    throw new DirectoryError('unproven', text)
  }

  /**
   * Finds entries that hold the address on the servers that this one refers to.
   * @throws DirectoryError if those cannot be asked
   */
  async #elsewhere(
    recipient: Recipient,
    turn: ListTurn,
    references: Shown['references'],
    { isActiveDirectory }: Searchable,
  ): Promise<readonly Entry[]> {
    for (const [place, urls] of references.entries()) {
      const base = this.#list.bases[place] ?? ''
      for (const alternatives of byPart(urls)) {
        const { list, why } = this.#referred.listFor(alternatives, base)
        if (!list) {
          const text = referredText(base, alternatives[0] ?? '', why, isActiveDirectory)
          this.#notices.once('warn', `unknown recipients are deferred: ${text}`)
          throw new DirectoryError('unproven', text)
        }
        const asked = list.#directory.ask((other) => list.#holders(recipient, other))
        const holders = await turn.within(asked)
        if (holders.length > 0) return holders
      }
    }
    return []
  }

  #answer(recipient: Recipient, holders: readonly Entry[]): GalAnswer {
    if (holders.length === 0) return ABSENT
    if (holders.length > 1) this.#warnOfSeveral(recipientKey(recipient), holders)
    // If several entries disagree, the mail system knows which one it means.
    const { flag, mailbox: attributes } = this.#list
    const authenticatedOnly = flag !== '' && holders.every((entry) => isTrue(entry, flag))
    const mailbox = attributes && mailboxOf(holders, attributes)
    if (mailbox) return { state: 'found', authenticatedOnly, mailbox }
    return authenticatedOnly ? FOUND_AUTHENTICATED : FOUND
  }

  #warnOfSeveral(key: string, holders: readonly Entry[]): void {
    const names = new Map(holders.map(({ dn }) => [dn.toLowerCase(), printable(dn)]))
    if (names.size < 2) return
    const text = `${key} belongs to several entries: ${[...names.values()].join(' and ')}`
    this.#notices.once('warn', text)
  }
}

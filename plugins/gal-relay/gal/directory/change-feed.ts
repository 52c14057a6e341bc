// How a directory tells what changed since the list was read: what every way of doing that is given,
// and what it promises. A way first reads the whole list and then goes on with its changes until the
// connection ends. What happened while nobody listened is found by reading the list again, whatever
// clocks, cookies and change numbers have done meanwhile.
import { guard, later } from '../../guard'
import type { GalSettings, LdapSettings } from '../../settings/settings'
import type { Log } from '../log'
import type { Connection } from './connection'
import type { Entry } from './entry'
import { attributesOfFilter } from './filter'
import type { RootDse } from './root-dse'
import type { WholeList } from './whole-list'

/** In the order of preference; a feed's number is its place here. */
export const FEEDS = ['none', 'syncrepl', 'dirsync', 'usn', 'timestamps'] as const
export type FeedName = (typeof FEEDS)[number]

/** Whoever keeps the list. */
export interface ListKeeper {
  /** A way of following the list begins: what another one has handed over does not count. */
  begin(): void
  /** An entry that is in the list, new or known, with all its addresses. Must not throw. */
  entry(id: Buffer, entry: Entry): void
  /** An entry that is not in the list, or not any more. Must not throw. */
  gone(id: Buffer): void
  /**
   * All entries have been handed over; from now on it is changes.
   * @throws Error to end the feed
   */
  complete(): Promise<void>
  /**
   * All changes before this moment on the local clock have been handed over.
   * @throws Error to end the feed
   */
  confirmed(at: number): Promise<void>
  /**
   * Begins to be told of all the entries there are, to find those that are gone; also before
   * `complete`, when all entries have been handed over.
   */
  compare(): Comparison
}

export interface Comparison {
  /** Must not throw. @returns whether it has an address in the list */
  seen(id: Buffer): boolean
  /** How many entries of the list have not been seen so far. */
  unseen(): number
  /**
   * There are no others.
   * @returns the ids of those among them that have no address in the list
   * @throws Error to end the feed
   */
  end(): Buffer[]
}

export interface FeedContext {
  readonly connection: Connection
  /**
   * Another one to the same server, which ends together with the first.
   * @throws DirectoryError
   */
  readonly connect: () => Promise<Connection>
  readonly rootDse: RootDse
  readonly list: WholeList
  readonly keeper: ListKeeper
  readonly gal: GalSettings
  readonly ldap: LdapSettings
  /** Milliseconds between two looks, and the measure for being current. */
  readonly every: number
  readonly log: Log
  /** Aborted when the connection has ended, or when the feed is not wanted any more. */
  readonly signal: AbortSignal
}

/** The server, or this account, does not do it this way, or not wholly; the list is not complete yet. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'
}

/** Results that say so: protocol error, unavailable critical extension, no rights, unwilling. */
const REFUSALS: ReadonlySet<number> = new Set([2, 12, 50, 53])

/** Results that say that more cannot be had at once: of time, of entries, of those looked through. */
const LIMITS: ReadonlySet<number> = new Set([3, 4, 11])

export function isLimit(code: number): boolean {
  return LIMITS.has(code)
}

export function isRefusal(code: number): boolean {
  return REFUSALS.has(code)
}

/** What an entry itself holds, and does not change without being changed. */
const OWN: ReadonlySet<string> = new Set(
  (
    'objectClass objectCategory groupType userAccountControl sAMAccountType sAMAccountName ' +
    'userPrincipalName mail mailNickname proxyAddresses targetAddress otherMailbox uid cn sn ' +
    'givenName displayName company department employeeType employeeNumber ' +
    'msExchHideFromAddressLists msExchRecipientTypeDetails msExchRecipientDisplayType ' +
    'msExchRequireAuthToSendTo'
  )
    .toLowerCase()
    .split(' '),
)

/**
 * Whether an entry that enters or leaves the list always changes itself. One that a filter finds by
 * its groups, by its place, or by what else the server works out, does not.
 */
export function isToldOfAll({ filter }: Pick<GalSettings, 'filter'>): boolean {
  const names = attributesOfFilter(filter)
  const isOwn = names.length > 0 && names.every((name) => OWN.has(name.toLowerCase()))
  return isOwn && !/:dn:/i.test(filter)
}

/** Of the time, at most one part in so many is spent on comparisons. */
const COMPARE_SHARE = 4

/** With all the entries there are, about as often as is bearable. */
export class Comparisons {
  #dueAt = 0
  #isPutOff = false

  /** @returns whether it was time for one */
  async run(compare: () => Promise<void>): Promise<boolean> {
    const startedAt = performance.now()
    this.#isPutOff = startedAt < this.#dueAt
    if (this.#isPutOff) return false
    await compare()
    this.#dueAt = startedAt + COMPARE_SHARE * (performance.now() - startedAt)
    return true
  }

  /**
   * Until the next look, milliseconds: that one which has been put off is not put off longer than it must be.
   * @param every the most
   */
  wait(every: number): number {
    if (!this.#isPutOff) return every
    return Math.min(every, Math.max(0, this.#dueAt - performance.now()))
  }
}

/** Between two looks: until the time is over, or somebody who heard of a change rings. */
export class Bell {
  #ring = () => {}
  #rung = false

  ring(): void {
    this.#rung = true
    this.#ring()
  }

  /** @throws whatever the signal is aborted with */
  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung) {
      await interruptible(milliseconds, signal, (interrupt) => {
        this.#ring = interrupt
      })
    }
    if (!this.#rung) return
    this.#rung = false
    // One change seldom comes alone.
    await interruptible(SETTLE, signal)
  }
}

const SETTLE = 500

/** @throws whatever the signal is aborted with */
export function interruptible(
  milliseconds: number,
  signal: AbortSignal,
  take: (interrupt: () => void) => void = () => {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    }
    const aborted = () => {
      end()
      reject(signal.reason)
    }
    const abort = guard('end of a pause', aborted, aborted)
    const done = () => {
      end()
      resolve()
    }
    const timer = later(milliseconds, 'pause', done, done)
    signal.addEventListener('abort', abort)
    take(done)
  })
}

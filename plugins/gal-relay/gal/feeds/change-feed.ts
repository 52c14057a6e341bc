// How a directory tells what changed since the list was read: what every way of doing that is given,
// and what it promises. A way first reads the whole list and then goes on with its changes until the
// connection ends. What happened while nobody listened is found by reading the list again, whatever
// clocks, cookies and change numbers have done meanwhile.
import { type Guarded, guard, later } from '../../guard'
import type { Connection } from '../../ldap/connection'
import type { Entry } from '../../ldap/entry'
import { attributesOfFilter } from '../../ldap/filter'
import type { RootDse } from '../../ldap/root-dse'
import type { Log } from '../../log'
import type { ListDefinition } from '../directory/list-definition'
import type { WholeList } from '../directory/whole-list'

/** A way in which changes arrive; each is one file and a line in table.ts. */
export interface ChangeFeed {
  /** Whether a server may do it, by what it says of itself. */
  isAnnounced(rootDse: RootDse, list: ListDefinition): boolean
  /**
   * Reads the list and follows it.
   * @throws NotOffered when another way must be taken
   * @throws DirectoryError when it has ended
   */
  run(context: FeedContext): Promise<never>
  /**
   * Where the directory reports changes: tries that in passing, for `gal-relay check`.
   * @returns why it cannot be had, as a sentence; undefined when it can
   * @throws DirectoryError when that cannot be known
   */
  trial?(context: FeedTrial): Promise<string | undefined>
  /** Where the directory does not: by what changes are looked for. */
  readonly looksBy?: string
}

/** What there is for a trial. */
export interface FeedTrial {
  readonly connection: Connection
  readonly rootDse: RootDse
  readonly list: ListDefinition
  /** The list is to be followed: what a reading would run into is to be found. */
  readonly isWanted: boolean
  /** How long nothing may come, milliseconds. */
  readonly patience: number
}

/** Whoever keeps the list. */
export interface ListKeeper {
  /** A way of following the list begins: what another one has handed over does not count. */
  begin(): void
  /** An entry that is in the list, new or known, with all its addresses. Must not throw. */
  entry(id: Buffer, entry: Entry): void
  /** An entry that is not, or no longer, in the list. Must not throw. */
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
  /** Milliseconds between two looks, and the measure for being current. */
  readonly every: number
  readonly log: Log
  /** Aborted when the connection has ended, or when the feed is no longer wanted. */
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
export function dependsOnEntryAlone({ filterText }: Pick<ListDefinition, 'filterText'>): boolean {
  const names = attributesOfFilter(filterText)
  const isOwn = names.length > 0 && names.every((name) => OWN.has(name.toLowerCase()))
  return isOwn && !/:dn:/i.test(filterText)
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

/** Looks for changes, where the directory does not tell of them or not of all. */
export interface Looker {
  /** Hands over what has changed since the last look. @throws DirectoryError */
  look(): Promise<void>
  /** Finds by listing all entries what a look does not show. @throws DirectoryError */
  compare(): Promise<void>
}

/**
 * Looks again and again, or when the bell rings.
 * @param isEnough what a look shows is all there is
 */
export async function lookAgain(
  { keeper, every, signal }: FeedContext,
  { look, compare }: Looker,
  bell: Bell,
  isEnough: boolean,
): Promise<never> {
  const comparisons = new Comparisons()
  for (;;) {
    const askedAt = Date.now()
    await look()
    const isCompared = await comparisons.run(compare)
    if (isCompared || isEnough) await keeper.confirmed(askedAt)
    await bell.wait(comparisons.wait(every), signal)
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

/**
 * Does it when the signal comes, or at once if it has come.
 * @returns gives that up
 */
export function whenAborted(signal: AbortSignal, abort: Guarded<[]>): () => void {
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort)
  return () => signal.removeEventListener('abort', abort)
}

// The interface of change feeds, the ways to learn what has changed in a directory. A feed first
// reads the whole list and then follows its changes until the connection ends. Changes made while
// no feed was running are found by reading the list again, whatever clocks, cookies and change
// numbers have done meanwhile.
import { type Guarded, guard, later } from '../../guard'
import type { Connection } from '../../ldap/connection'
import type { Entry } from '../../ldap/entry'
import { attributesOfFilter } from '../../ldap/filter'
import type { RootDse } from '../../ldap/root-dse'
import type { Log } from '../../log'
import type { ListDefinition } from '../directory/list-definition'
import type { WholeList } from '../directory/whole-list'

/** A way in which changes arrive; each is a file and a line in table.ts. */
export interface ChangeFeed {
  /** Whether a server may support this, judging by its root DSE. */
  isAnnounced(rootDse: RootDse, list: ListDefinition): boolean
  /**
   * Reads the list and follows its changes.
   * @throws NotOffered if another feed must be used
   * @throws DirectoryError when the feed has ended
   */
  run(context: FeedContext): Promise<never>
  /**
   * Only for feeds in which the directory reports changes: a brief test for `gal-relay check`.
   * @returns why it does not work, as a sentence; `undefined` if it does
   * @throws DirectoryError if that cannot be determined
   */
  trial?(context: FeedTrial): Promise<string | undefined>
  /** Only for the other feeds: the means by which they look for changes. */
  readonly looksBy?: string
}

/** The arguments of a trial. */
export interface FeedTrial {
  readonly connection: Connection
  readonly rootDse: RootDse
  readonly list: ListDefinition
  /** Whether the list will be followed: the trial must then find whatever would stop that. */
  readonly isWanted: boolean
  /** How long the server may be silent, in milliseconds. */
  readonly patience: number
}

/** Receives the list and its changes, and keeps them. */
export interface ListKeeper {
  /** A feed begins: entries that another feed has handed over do not count. */
  begin(): void
  /** An entry is in the list, new or known; it is passed with all its addresses. Must not throw. */
  entry(id: Buffer, entry: Entry): void
  /** An entry is not, or no longer, in the list. Must not throw. */
  gone(id: Buffer): void
  /** Whether the list has just those addresses of an entry that it shows here, and any at all. */
  holds(id: Buffer, entry: Entry): boolean
  /**
   * All entries have been handed over; changes follow.
   * @throws Error to end the feed
   */
  complete(): Promise<void>
  /**
   * All changes before this moment on the local clock have been handed over.
   * @throws Error to end the feed
   */
  confirmed(at: number): Promise<void>
  /**
   * Begins a comparison with all existing entries, to find those that are gone. May also be called
   * before `complete`, once all entries have been handed over.
   */
  compare(): Comparison
}

export interface Comparison {
  /** Must not throw. @returns whether the entry has an address in the list */
  seen(id: Buffer): boolean
  /** How many entries of the list have not been seen yet. */
  unseen(): number
  /**
   * All entries have been seen: the others are gone.
   * @param mayRemove `false`: they are kept nevertheless
   * @returns the ids of those that have no address in the list
   * @throws Error to end the feed
   */
  end(mayRemove?: boolean): Buffer[] | Promise<Buffer[]>
}

export interface FeedContext {
  readonly connection: Connection
  /**
   * Opens another connection to the same server, which ends together with the first.
   * @throws DirectoryError
   */
  readonly connect: () => Promise<Connection>
  readonly rootDse: RootDse
  readonly list: WholeList
  readonly keeper: ListKeeper
  /** Milliseconds between two looks; also the measure of whether the list is current. */
  readonly every: number
  readonly log: Log
  /** Aborted when the connection has ended or the feed is no longer wanted. */
  readonly signal: AbortSignal
}

/** Thrown before the list is complete, if the feed is not offered, or not fully, or not to this account. */
export class NotOffered extends Error {
  override readonly name = 'NotOffered'
}

/** Result codes: protocol error, unavailable critical extension, insufficient rights, unwilling. */
const REFUSALS: ReadonlySet<number> = new Set([2, 12, 50, 53])

/** Result codes of exceeded limits: time, entries returned, entries examined. */
const LIMITS: ReadonlySet<number> = new Set([3, 4, 11])

export function isLimit(code: number): boolean {
  return LIMITS.has(code)
}

export function isRefusal(code: number): boolean {
  return REFUSALS.has(code)
}

/** Attributes that the entry itself holds, so they change only when the entry is modified. */
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
 * Whether an entry can enter or leave the list only by being modified itself. That is not so if the
 * filter depends on its groups, its place in the tree, or anything else that the server computes.
 */
export function dependsOnEntryAlone({ filterText }: Pick<ListDefinition, 'filterText'>): boolean {
  const names = attributesOfFilter(filterText)
  const isOwn = names.length > 0 && names.every((name) => OWN.has(name.toLowerCase()))
  return isOwn && !/:dn:/i.test(filterText)
}

/** Comparisons take up at most this fraction (1 / COMPARE_SHARE) of the time. */
const COMPARE_SHARE = 4

/** Schedules comparisons with all existing entries, as often as the load allows. */
export class Comparisons {
  readonly #share: number
  readonly #least: number
  #dueAt: number
  #isPutOff = false

  /**
   * @param share they take at most one part in this many of the time
   * @param least milliseconds before each
   */
  constructor(share = COMPARE_SHARE, least = 0) {
    this.#share = share
    this.#least = least
    this.#dueAt = least > 0 ? performance.now() + least : 0
  }

  /** @returns whether it was time for one */
  async run(compare: () => Promise<void>): Promise<boolean> {
    const startedAt = performance.now()
    this.#isPutOff = startedAt < this.#dueAt
    if (this.#isPutOff) return false
    await compare()
    const took = performance.now() - startedAt
    this.#dueAt = startedAt + Math.max(this.#least, this.#share * took)
    return true
  }

  /**
   * Milliseconds until the next look; shortened if a comparison was put off and is due earlier.
   * @param every the most
   */
  wait(every: number): number {
    if (!this.#isPutOff) return every
    return Math.min(every, Math.max(0, this.#dueAt - performance.now()))
  }
}

/** Looks for changes, if the directory does not report them, or not all of them. */
export interface Looker {
  /** Hands over what has changed since the last look. @throws DirectoryError */
  look(): Promise<void>
  /** Lists all entries, to find what a look does not show. @throws DirectoryError */
  compare(): Promise<void>
}

/**
 * Looks at intervals, and whenever the bell rings.
 * @param isEnough whether a look shows all changes
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

/** The pause between two looks; `ring` ends it early when a change is reported. */
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
    // Changes seldom come alone.
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
 * Calls `abort` when the signal is aborted, or at once if it has been.
 * @returns a function that cancels this
 */
export function whenAborted(signal: AbortSignal, abort: Guarded<[]>): () => void {
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort)
  return () => signal.removeEventListener('abort', abort)
}

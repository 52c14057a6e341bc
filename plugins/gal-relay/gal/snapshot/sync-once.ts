// Reads the whole directory once, and puts the list in force at once, even if another process keeps
// the list. That process notices, and starts over.
import { every } from '../../guard'
import { endpointsOf } from '../../ldap/endpoints'
import type { Entry } from '../../ldap/entry'
import type { Log } from '../../log'
import { addressKey } from '../address-key'
import { addressesOf } from '../directory/entry-addresses'
import { listDefinition } from '../directory/list-definition'
import type { FeedName } from '../feeds/table'
import { Hasher, newKey } from './address-hash'
import { NOT_IN_LIST } from './address-table'
import { type ListInForce, listInForce } from './in-force'
import { Keeper, type KeeperOptions, Refused } from './keeper'
import type { ListSettings } from './list-settings'
import { Reading } from './syncer'

export interface SyncOptions {
  /** Accept what the directory shows, however few recipients that is. */
  readonly force: boolean
  readonly log: Log
  /** Called whenever reading from another server begins, and often during the reading. */
  readonly onProgress: (progress: SyncProgress) => void
}

export interface SyncProgress {
  readonly server: string
  /** Entries read so far. */
  readonly entries: number
  /** Addresses of the previous list seen again, and its size; `undefined` if there was none. */
  readonly known: number
  readonly before: number | undefined
}

export interface SyncResult {
  readonly server: string
  /** The feed by which changes arrive. */
  readonly feed: FeedName
  readonly entries: number
  readonly recipients: number
  readonly milliseconds: number
  /** The list that was in force before. */
  readonly before: Pick<ListInForce, 'count' | 'asOf'> | undefined
  /** Recipients that were not in the previous list, and those that are only in it. */
  readonly added: number
  readonly removed: number
}

const PROGRESS_EVERY = 100

/**
 * Asks the servers in order until one has shown its list.
 * @throws Refused if so many recipients are missing that it cannot be intended, and no other
 *   server has them
 * @throws Error if no server shows a list, or the file cannot be written
 */
export async function syncOnce(
  settings: ListSettings,
  syncOptions: SyncOptions,
): Promise<SyncResult> {
  const list = listDefinition(settings.gal, settings.ldap)
  const before = await listInForce(list, settings.snapshot)
  let failure = new Error('no server')
  let refused: Refused | undefined
  for (const endpoint of await endpointsOf(settings.ldap)) {
    const { force, log, onProgress } = syncOptions
    const { snapshot } = settings
    const options = { list, snapshot, before: before?.heldAgainst, force, log }
    const keeper = new ComparingKeeper(options, before)
    const reportProgress = () =>
      onProgress({
        server: endpoint.name,
        entries: keeper.entries,
        known: keeper.known.size,
        before: before?.count,
      })
    reportProgress()
    const timer = every(PROGRESS_EVERY, 'progress of gal-relay sync', reportProgress)
    const reading = new Reading(endpoint, list, settings, keeper, log)
    const ended = await Promise.race([reading.complete, reading.ended])
    // The list is right as of the moment at which reading it began.
    if (!ended) await keeper.confirmed(reading.startedAt).catch(() => {})
    clearInterval(timer)
    const milliseconds = Date.now() - reading.startedAt
    reportProgress()
    reading.stop()
    await reading.ended
    if (!ended) {
      const { feed, entries, addresses: recipients, known } = keeper
      return {
        server: endpoint.name,
        feed,
        entries,
        recipients,
        milliseconds,
        before: before && { count: before.count, asOf: before.asOf },
        added: recipients - known.size,
        removed: (before?.count ?? 0) - known.size,
      }
    }
    if (ended instanceof Unwritten) throw ended
    if (ended instanceof Refused) refused ??= ended
    failure = new Error(`${endpoint.name}: ${ended.message}`)
  }
  throw refused ?? failure
}

/** The file cannot be written. A single run does not wait until it can. */
class Unwritten extends Error {}

/** Notes which addresses of the previous list are seen again. */
class ComparingKeeper extends Keeper {
  /** Hashes under a separate key, so no address stays in memory. */
  readonly known = new Set<number>()
  readonly #hasher = new Hasher(newKey())
  readonly #before: ListInForce | undefined
  readonly #file: string

  constructor(options: KeeperOptions, before: ListInForce | undefined) {
    super(options)
    this.#before = before
    this.#file = options.snapshot.file
  }

  override async complete(): Promise<void> {
    await super.complete()
    if (this.unwritten === undefined) return
    throw new Unwritten(`${this.#file} cannot be written: ${this.unwritten}`)
  }

  override begin(): void {
    super.begin()
    this.known.clear()
  }

  override entry(id: Buffer, entry: Entry): void {
    super.entry(id, entry)
    if (!this.#before) return
    for (const address of addressesOf(entry, this.attributes)) {
      const key = addressKey(address)
      if (this.#before.find(key) === NOT_IN_LIST) continue
      const { hi, lo } = this.#hasher.address(key)
      this.known.add(hi * 2 ** 21 + (lo >>> 11))
    }
  }
}

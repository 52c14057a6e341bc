// Reads the whole list, puts it in force and follows its changes. It starts over when the feed of
// changes ends, when it is time, or when another list has been put in force. During a scheduled
// reading, it still follows the previous list. Servers are tried in their order: one that was
// passed over because it was away is tried again while another is followed.
import { every, guard, later, unattended } from '../../guard'
import { Backoff } from '../../ldap/backoff'
import { directoryError } from '../../ldap/directory-error'
import { endpointsOf } from '../../ldap/endpoints'
import { openConnection } from '../../ldap/open'
import type { Endpoint } from '../../ldap/options'
import type { Log } from '../../log'
import { follow, MoreShown } from '../directory/follow'
import { type ListDefinition, listDefinition } from '../directory/list-definition'
import { doubtedBeside } from '../directory/replicas'
import { hidesEntries, type Searchable } from '../directory/searchable'
import { interruptible } from '../feeds/change-feed'
import type { FeedName } from '../feeds/table'
import { removeUnfinished } from './file'
import { listInForce } from './in-force'
import { Keeper, Refused } from './keeper'
import type { ListSettings } from './list-settings'
import { whyNotWhole } from './not-whole'
import { ReadingTurns } from './reading-turns'

/** How the list is being kept, for the log, metrics and the status page. Times in ms since 1970. */
export interface SyncReport {
  /** `reading` a whole list, `following` its changes, or `waiting` after something went wrong. */
  readonly state: 'reading' | 'following' | 'waiting'
  readonly server: string
  /** The feed by which changes arrive. */
  readonly feed: FeedName
  /** Entries read so far, while a whole list is read. */
  readonly entries: number
  /** When reading the list in force began, and how long it took. */
  readonly readAt: number | undefined
  readonly readFor: number | undefined
  readonly lastError: string | undefined
  readonly lastErrorAt: number | undefined
}

/** How often the progress of a reading is logged, milliseconds. */
const PROGRESS = 10_000
/** After a list is refused, wait at least this many times as long as reading it took. */
const SHARE = 4

/** One reading of the directory over one connection, and the following of its changes. */
export class Reading {
  readonly keeper: Keeper
  readonly startedAt = Date.now()
  /** Resolves when the list is in force, which it is only once it is on the disk. */
  readonly complete: Promise<void>
  /** Resolves, with the reason, when the reading has ended. Never rejects. */
  readonly ended: Promise<Error>
  /** How long it took to read the list; set once it is read. */
  readFor: number | undefined
  readonly #stop = new AbortController()

  constructor(
    readonly endpoint: Endpoint,
    list: ListDefinition,
    settings: ListSettings,
    keeper: Keeper,
    log: Log,
    mayAsk = () => true,
    known = new Map<string, Searchable>(),
  ) {
    this.keeper = keeper
    let completed = () => {}
    this.complete = new Promise((resolve) => {
      completed = resolve
    })
    this.ended = this.#run(list, settings, log, completed, mayAsk, known).then(
      () => new Error('ended'),
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    )
  }

  stop(): void {
    this.#stop.abort(new Error('no longer wanted'))
  }

  async #run(
    definition: ListDefinition,
    { ldap, snapshot }: ListSettings,
    log: Log,
    completed: () => void,
    mayAsk: () => boolean,
    known: Map<string, Searchable>,
  ): Promise<void> {
    const { keeper, endpoint } = this
    const { signal } = this.#stop
    const open = async () => {
      if (!mayAsk()) throw new Error('another server may read the list now')
      const connection = await openConnection(endpoint, ldap, signal)
      connection.maySend = mayAsk
      return connection
    }
    const connect = async () => {
      const connection = await open()
      connection.onEnd = (error) => this.#stop.abort(error)
      const end = () => connection.destroy(directoryError(signal.reason))
      // The reading may have been stopped in the meantime.
      if (signal.aborted) end()
      signal.addEventListener('abort', guard('end of a reading', end, end))
      return connection
    }
    try {
      const connection = await connect()
      await follow({
        connection,
        connect,
        open,
        definition,
        timeout: ldap.query_timeout,
        log,
        signal,
        every: snapshot.changes_every,
        before: known.get(endpoint.name),
        keeper: {
          begin: () => keeper.begin(),
          entry: (id, entry) => keeper.entry(id, entry),
          gone: (id) => keeper.gone(id),
          holds: (id, entry) => keeper.holds(id, entry),
          async confirmed(at) {
            await keeper.confirmed(at)
            if (keeper.unwritten === undefined) completed()
          },
          compare: () => keeper.compare(),
          complete: async () => {
            this.readFor = Date.now() - this.startedAt
            await keeper.complete()
            if (keeper.unwritten === undefined) completed()
          },
        },
        onWay: (name) => {
          keeper.feed = name
        },
        onSearchable: (shown) => {
          const searchable = doubtedBeside(known, endpoint.name, shown)
          known.set(endpoint.name, shown)
          keeper.attributes = new Set(searchable.shownAs)
          keeper.isPartAway = searchable.isPartAway
          const isWhole = !hidesEntries(searchable)
          if (keeper.isWhole && !isWhole) {
            const why = whyNotWhole(searchable, ldap)
            log.warn(
              `${endpoint.name}: recipients that are not in the list are looked up live: ${why}`,
            )
          }
          keeper.isWhole = isWhole
        },
      })
    } finally {
      this.stop()
      await keeper.end()
    }
  }
}

export class Syncer {
  readonly #settings: ListSettings
  readonly #list: ListDefinition
  readonly #log: Log
  readonly #backoff: Backoff
  readonly #turns: ReadingTurns
  readonly #mayAsk: () => boolean
  readonly #stop = new AbortController()
  #following: Reading | undefined
  #reading: Reading | undefined
  #readFor: number | undefined
  /** What was seen last of each server, by its name. */
  readonly #known = new Map<string, Searchable>()
  /** Servers that come before the followed one, and were away when the list was read. */
  #passedOver: Endpoint[] = []
  #lastError: string | undefined
  #lastErrorAt: number | undefined

  /**
   * @param turns shared by all lists that the process keeps
   * @param mayAsk whether the directory may be asked anything now
   */
  constructor(settings: ListSettings, log: Log, turns = new ReadingTurns(), mayAsk = () => true) {
    this.#settings = settings
    this.#turns = turns
    this.#mayAsk = mayAsk
    this.#list = listDefinition(settings.gal, settings.ldap)
    this.#log = log
    const { least, most } = settings.ldap.retry_after
    this.#backoff = new Backoff(least * 2, most)
  }

  report(): SyncReport {
    const one = this.#reading ?? this.#following
    return {
      state: this.#reading ? 'reading' : this.#following ? 'following' : 'waiting',
      server: one?.endpoint.name ?? '',
      feed: one?.keeper.feed ?? 'none',
      entries: one?.keeper.entries ?? 0,
      readAt: this.#following?.startedAt,
      readFor: this.#readFor,
      lastError: one?.keeper.unwritten ?? this.#lastError,
      lastErrorAt: one?.keeper.unwritten ? one.keeper.unwrittenAt : this.#lastErrorAt,
    }
  }

  /** Runs until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => {
      this.#stop.abort(signal.reason)
      this.#reading?.stop()
      this.#following?.stop()
    }
    signal.addEventListener('abort', guard('end of keeping the list', stop, stop))
    await removeUnfinished(this.#settings.snapshot.file).catch(() => {})
    while (!signal.aborted) {
      const startedAt = performance.now()
      const failure = await this.#readAnew()
      if (signal.aborted) break
      if (!failure) {
        this.#backoff.reset()
        await this.#untilDue(signal)
      } else {
        this.#backoff.failed()
        const rest = failure instanceof Refused ? SHARE * (performance.now() - startedAt) : 0
        await pause(Math.max(this.#backoff.delay ?? 0, rest), signal)
      }
    }
    await Promise.all([this.#reading?.ended, this.#following?.ended])
  }

  /**
   * Reads from the first server that shows its list.
   * @returns why there is no new list in force; `undefined` if there is one
   */
  async #readAnew(): Promise<Error | undefined> {
    let failure: Error | undefined
    const passedOver: Endpoint[] = []
    try {
      for (const endpoint of await endpointsOf(this.#settings.ldap)) {
        const reason = await this.#readFrom(endpoint)
        if (!reason) {
          this.#passedOver = passedOver
          return undefined
        }
        this.#failed(`${endpoint.name}: the list was not read: ${reason.message}`)
        if (!(reason instanceof Refused)) passedOver.push(endpoint)
        if (!(failure instanceof Refused)) failure = reason
      }
    } catch (error) {
      failure = directoryError(error)
      this.#failed(failure.message)
    }
    return failure ?? new Error('no server')
  }

  /** @returns `undefined` if the server's list is in force */
  async #readFrom(endpoint: Endpoint): Promise<Error | undefined> {
    let end = () => {}
    try {
      end = await this.#turns.take(this.#stop.signal)
      return await this.#readInTurn(endpoint)
    } catch (error) {
      if (this.#stop.signal.aborted) return new Error('no longer wanted')
      throw error
    } finally {
      end()
    }
  }

  async #readInTurn(endpoint: Endpoint): Promise<Error | undefined> {
    const { snapshot } = this.#settings
    const inForce = await listInForce(this.#list, snapshot)
    // Nothing would stop a reading that begins after this.
    this.#stop.signal.throwIfAborted()
    const keeper = new Keeper({
      list: this.#list,
      snapshot,
      before: inForce?.heldAgainst,
      force: false,
      log: this.#log,
    })
    const reading = new Reading(
      endpoint,
      this.#list,
      this.#settings,
      keeper,
      this.#log,
      this.#mayAsk,
      this.#known,
    )
    this.#reading = reading
    this.#log.info(`${endpoint.name}: the whole list is read`)
    const progress = every(PROGRESS, 'progress of a reading', () => this.#progress(reading))
    const failure = await Promise.race([reading.complete, reading.ended])
    clearInterval(progress)
    this.#reading = undefined
    if (failure) return failure
    const { readFor = 0 } = reading
    this.#readFor = readFor
    this.#log.notice(
      `the list is in force: ${keeper.addresses} recipients, ${keeper.entries} entries read from ` +
        `${endpoint.name} in ${(readFor / 1000).toFixed(1)} s; changes come by ${keeper.feed}`,
    )
    const before = this.#following
    this.#following = reading
    before?.stop()
    unattended('end of the list', async () => this.#lost(reading, await reading.ended))
    return undefined
  }

  #lost(reading: Reading, error: Error): void {
    const { message } = error
    if (this.#following !== reading) return
    this.#following = undefined
    if (this.#stop.signal.aborted) return
    if (error instanceof MoreShown) this.#log.notice(`${reading.endpoint.name}: ${message}`)
    else this.#failed(`${reading.endpoint.name}: changes are no longer followed: ${message}`)
  }

  /** Waits until the list must be read again: when it is time, or when its changes are lost. */
  async #untilDue(signal: AbortSignal): Promise<void> {
    for (let following = this.#following; following; ) {
      const due = new AbortController()
      const abort = () => due.abort()
      const stop = guard('end of following', abort, abort)
      signal.addEventListener('abort', stop)
      unattended('loss of what is followed', () => following?.ended.then(abort), abort)
      const fullEvery = this.#settings.snapshot.full_every
      const timer = later(fullEvery, 'time for a whole list', abort, abort)
      await this.#untilBack(due.signal)
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
      // A server that is back is followed as long as any other.
      if (this.#following === following) break
      following = this.#following
    }
    // A feed that is lost again and again must not keep the directory busy.
    if (!this.#following) await pause(this.#readFor ?? 0, signal)
  }

  /** Waits until a server that was passed over is followed, or until the signal. */
  async #untilBack(signal: AbortSignal): Promise<void> {
    const { changes_every, full_every } = this.#settings.snapshot
    let rest = changes_every
    while (!signal.aborted) {
      await pause(this.#passedOver.length > 0 ? rest : full_every, signal)
      for (const [place, endpoint] of this.#passedOver.entries()) {
        if (signal.aborted || !(await this.#answers(endpoint, signal))) continue
        const failure = await this.#readFrom(endpoint)
        if (!failure) {
          this.#passedOver.splice(place)
          return
        }
        this.#failed(`${endpoint.name}: the list was not read: ${failure.message}`)
        // The server is back, but does not show its list.
        rest *= 2
      }
    }
  }

  async #answers(endpoint: Endpoint, signal: AbortSignal): Promise<boolean> {
    if (!this.#mayAsk()) return false
    try {
      const connection = await openConnection(endpoint, this.#settings.ldap, signal)
      connection.close()
      return true
    } catch {
      return false
    }
  }

  #failed(text: string): void {
    if (this.#stop.signal.aborted) return
    if (text === this.#lastError) this.#log.debug(text)
    else this.#log.error(text)
    this.#lastError = text
    this.#lastErrorAt = Date.now()
  }

  #progress({ endpoint, keeper, startedAt, readFor }: Reading): void {
    if (readFor !== undefined) return
    const rate = Math.round(keeper.entries / ((Date.now() - startedAt) / 1000))
    this.#log.info(`${endpoint.name}: ${keeper.entries} entries read, ${rate} a second`)
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return interruptible(milliseconds, signal).catch(() => {})
}

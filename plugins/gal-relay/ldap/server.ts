// One directory server: its connections, whether it is up, and how it comes back when it is down. A
// server is up when it has answered a search like the real ones, not merely when it accepts
// connections. While it is down, no question waits for it; it is retried in the background.
import { every, later, unattended } from '../guard'
import type { Log } from '../log'
import { Backoff } from './backoff'
import type { Connection } from './connection'
import {
  ADMIN_LIMIT_EXCEEDED,
  DirectoryError,
  directoryError,
  resultError,
} from './directory-error'
import { ServerHealth, type ServerReport } from './health'
import { openConnection } from './open'
import type { Endpoint, LdapOptions } from './options'
import { Pool } from './pool'

/** @typeParam K what the caller knows about the server */
export interface ServerOptions<K> {
  readonly endpoint: Endpoint
  readonly ldap: LdapOptions
  /** Searches, one of which must end with success before the server counts as up. */
  readonly check: readonly Buffer[]
  /** The same in smaller searches, for a server that finds those too much. */
  readonly checkSingly?: readonly Buffer[]
  /** Makes the initial knowledge about a server. */
  readonly newKnowledge: () => K
  /** Finds out what can be searched for, before the server counts as up; may fail. */
  readonly onOpen: (server: Server<K>, connection: Connection) => Promise<unknown>
  readonly log: Log
  /** A connection idle for this many milliseconds is tested, so that questions find none dead. */
  readonly idle: number
  /** Called when something changes that searches may be waiting for. */
  readonly onChange: () => void
  /** Called when a connection has room for one more search. */
  readonly onRoom: () => void
  /** Whether this server is missed: the directory is being asked, and no other server is up. */
  readonly isMissed: () => boolean
  /** Connects only when the server is first asked, and keeps one connection while it is idle. */
  readonly isOnDemand: boolean
}

/** The most reasons logged for one outage. */
const REASONS = 5
/** While no server at all is up, each is retried about this often, in milliseconds. */
const MISSED = 1000

export class Server<K = unknown> {
  readonly health: ServerHealth
  /** What the caller has found out about the server; kept while the server is listed. */
  readonly knowledge: K
  readonly #options: ServerOptions<K>
  readonly #pool: Pool
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  /** The reasons for the outage that have been logged. */
  readonly #reasons = new Set<string>()
  #started = false
  #opening = false
  /** `onOpen` made the server end the connection, so it is not called again. */
  #endsAtOpen = false
  #upAt = 0
  #retry: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(options: ServerOptions<K>) {
    this.#options = options
    this.knowledge = options.newKnowledge()
    this.health = new ServerHealth(options.endpoint.name)
    if (options.isOnDemand) this.health.enter('idle')
    this.#pool = new Pool({
      ...options,
      signal: this.#closing.signal,
      mayGrow: () => this.isUp,
      onGrown: options.onChange,
      onEmpty: (error, openedAt) => this.#lost(error, openedAt),
    })
    const { least, most } = options.ldap.retry_after
    this.#backoff = new Backoff(least * 2, most)
  }

  get name(): string {
    return this.#options.endpoint.name
  }

  get isUp(): boolean {
    return this.health.state === 'up'
  }

  /** Whether it is being tried for the first time, or again after its connections were lost. */
  get isStarting(): boolean {
    return this.health.state === 'starting' && !this.#closing.signal.aborted
  }

  get isDown(): boolean {
    return this.health.state === 'down'
  }

  report(): ServerReport {
    return this.health.report(this.#pool.size, this.#pool.inFlight)
  }

  /** Connects in the background, once. */
  start(): void {
    if (this.#started) return
    this.#started = true
    this.health.enter('starting')
    this.#idle = every(this.#options.idle / 2, 'idle directory connections', () =>
      this.#tryIdle(),
    ).unref()
    unattended('first connection to a directory server', () => this.#open(), this.#openLater)
  }

  /** @returns the connection with the fewest searches in flight or expected, if it has room */
  connection(): Connection | undefined {
    return this.#pool.free()
  }

  /**
   * The newest connection. If it was opened longer ago than `age` milliseconds, a new one takes the place of
   * all that there are: rights and limits may be those of the bind.
   * @throws DirectoryError if there is no new one; the others are then kept
   */
  newestConnection(age: number): Promise<Connection> {
    return this.#pool.newest(age)
  }

  /** Whether a newer one, which may show more, has taken its place. */
  hasReplaced(connection: Connection): boolean {
    return this.#pool.hasReplaced(connection)
  }

  /**
   * Handles a search on this connection that was not answered in time.
   * @param sentAt when it was sent
   */
  timedOut(connection: Connection, sentAt: number, { message }: DirectoryError): void {
    // The connection works; only that search is slow.
    if (connection.answeredAt > sentAt || connection.ended) return
    const dead = new DirectoryError('connection', message)
    if (this.#pool.hasAnswered(sentAt, connection)) {
      connection.destroy(dead)
    } else {
      this.#lost(dead, connection.openedAt)
    }
  }

  /** Tests the server, after a search on this connection ended in a way that casts doubt on it. */
  async doubt(connection: Connection): Promise<void> {
    if (connection.isOnTrial || connection.ended) return
    connection.isOnTrial = true
    const sentAt = performance.now()
    try {
      await this.#check(connection)
    } catch (thrown) {
      const error = directoryError(thrown)
      if (error.failure === 'timeout') this.timedOut(connection, sentAt, error)
      else if (!connection.ended) this.#down(error)
    } finally {
      connection.isOnTrial = false
    }
  }

  /** Retries sooner, because no other server is up. */
  hurry(): void {
    if (this.health.state === 'down' && !this.#opening) this.#scheduleRetry()
  }

  /** Unbinds and closes all connections. */
  close(): void {
    this.#closing.abort()
    clearTimeout(this.#retry)
    clearInterval(this.#idle)
    this.#pool.close()
  }

  /** Ends all connections and timers until the next `start`, because nothing is being asked. */
  rest(): void {
    clearInterval(this.#idle)
    this.#pool.close()
    this.#started = false
    this.health.enter('idle')
  }

  async #open(): Promise<void> {
    const { endpoint, ldap } = this.#options
    this.#opening = true
    try {
      const connection = await openConnection(endpoint, ldap, this.#closing.signal)
      try {
        await this.#check(connection)
        if (!this.#endsAtOpen) {
          await this.#opened(connection)
          this.#endsAtOpen = connection.ended !== undefined
        }
        if (connection.ended) throw connection.ended
        if (this.#closing.signal.aborted) throw new DirectoryError('connection', 'closed')
      } catch (error) {
        connection.destroy(directoryError(error))
        throw error
      }
      this.#opening = false
      this.#pool.adopt(connection)
      this.#up()
    } catch (error) {
      this.#opening = false
      this.#down(directoryError(error))
    }
  }

  /** Waits for `onOpen` no longer than for a search: existing addresses can be found without it. */
  async #opened(connection: Connection): Promise<void> {
    const { onOpen, ldap, log } = this.#options
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<void>((resolve) => {
      timer = later(
        ldap.query_timeout,
        'wait for what can be searched for',
        () => resolve(),
        () => resolve(),
      )
    })
    try {
      await Promise.race([onOpen(this, connection), over])
    } catch (error) {
      const { message } = directoryError(error)
      log.debug(`${this.name}: what it can be searched for is not known yet: ${message}`)
    } finally {
      clearTimeout(timer)
    }
  }

  async #check(connection: Connection): Promise<void> {
    const { check, checkSingly = [] } = this.#options
    const error = await this.#tried(connection, check)
    if (!error) return
    const isTooMuch = error.code === ADMIN_LIMIT_EXCEEDED && checkSingly.length > 0
    if (!isTooMuch || (await this.#tried(connection, checkSingly))) throw error
  }

  /** @returns undefined if it answers some of them: it may find what is asked for */
  async #tried(
    connection: Connection,
    searches: readonly Buffer[],
  ): Promise<DirectoryError | undefined> {
    const { query_timeout } = this.#options.ldap
    const results = await Promise.all(searches.map((one) => connection.search(one, query_timeout)))
    const [first] = results
    if (!first || results.some(({ code }) => code === 0)) return undefined
    return resultError(first.code, first.diagnostic, first.references)
  }

  #tryIdle(): void {
    const { idle, isOnDemand } = this.#options
    this.#pool.endReplaced()
    const unused = this.#pool.idle(idle)
    if (isOnDemand) this.#pool.leave(1, unused)
    for (const connection of unused.filter(({ ended }) => !ended)) {
      unattended('trying an idle connection', () => this.doubt(connection))
    }
  }

  /** The last connection was lost: reconnects at once, unless it was lost soon after opening. */
  #lost(error: DirectoryError, openedAt: number): void {
    if (this.#closing.signal.aborted || this.health.state !== 'up') return
    if (performance.now() - openedAt < this.#options.ldap.retry_after.least) {
      this.#down(error)
      return
    }
    this.#options.log.info(`directory ${this.name}: connecting again: ${error.message}`)
    this.health.failed(error.message)
    this.health.enter('starting')
    this.#pool.drop(error)
    unattended('connecting again', () => this.#open(), this.#openLater)
    this.#options.onChange()
  }

  #up(): void {
    const again = this.#upAt > 0 && this.health.state === 'starting'
    this.health.enter('up')
    this.#upAt = performance.now()
    this.#options.log[again ? 'info' : 'notice'](`directory ${this.name} is up`)
    this.#options.onChange()
  }

  #down(error: DirectoryError): void {
    if (this.#closing.signal.aborted) return
    const { log, ldap } = this.#options
    const { state } = this.health
    // A server that keeps failing soon after it came back is retried less and less often.
    const stayedUp = state !== 'down' && performance.now() - this.#upAt > ldap.retry_after.most
    if (stayedUp) this.#backoff.reset()
    this.health.down(error.message)
    if (state !== 'down') this.#reasons.clear()
    const isNews = !this.#reasons.has(error.message) && this.#reasons.size < REASONS
    // An account that is about to be locked affects everybody who uses it.
    if (error.failure === 'credentials' || (error.failure === 'waiting' && isNews)) {
      log.error(`directory ${this.name} is down: ${error.message}`)
    } else if (isNews) {
      const level = this.#reasons.size === 0 ? 'warn' : 'info'
      log[level](`directory ${this.name} is down: ${error.message}`)
    }
    if (isNews) this.#reasons.add(error.message)
    this.#pool.drop(error)
    this.#backoff.failed()
    this.#scheduleRetry()
    this.#options.onChange()
  }

  #scheduleRetry(): void {
    clearTimeout(this.#retry)
    const { least } = this.#options.ldap.retry_after
    const missed = MISSED * (0.75 + Math.random() / 2)
    const atMost = this.#options.isMissed() ? missed : Number.POSITIVE_INFINITY
    const delay = Math.max(least, Math.min(this.#backoff.delay ?? least, atMost))
    const open = () => this.#open()
    this.#retry = later(delay, 'retry of a directory server', open, this.#openLater)
  }

  /** Retries after a failure of our own, or the server would stay down for ever. */
  readonly #openLater = () => {
    this.#opening = false
    if (!this.#closing.signal.aborted) this.#scheduleRetry()
  }
}

// One directory server: its connections, whether it is up, and coming back when it is down. A server
// is up when it has answered a search like those it is for, not merely when it accepts
// connections. While it is down nobody waits for it: it is tried again in the background.
import { every, later, unattended } from '../guard'
import type { Log } from '../log'
import { Backoff } from './backoff'
import type { Connection } from './connection'
import { DirectoryError, directoryError, resultError } from './directory-error'
import { ServerHealth, type ServerReport } from './health'
import { openConnection } from './open'
import type { Endpoint, LdapOptions } from './options'

/** @typeParam K what whoever asks it knows of it */
export interface ServerOptions<K> {
  readonly endpoint: Endpoint
  readonly ldap: LdapOptions
  /** Searches that must end with success before the server counts as up. */
  readonly check: readonly Buffer[]
  /** What is known of a server at first. */
  readonly newKnowledge: () => K
  /** Finds out what can be searched for, before the server counts as up; may fail. */
  readonly onOpen: (server: Server<K>, connection: Connection) => Promise<unknown>
  readonly log: Log
  /** A connection that was idle so many milliseconds is tried before a question has to wait for that. */
  readonly idle: number
  /** Something changed that searches may wait for. */
  readonly onChange: () => void
  /** A connection has room for one more search. */
  readonly onRoom: () => void
  /** No other server can be asked, and somebody asks, so that this one is missed. */
  readonly isMissed: () => boolean
  /** It is connected when it is asked, and not before; it has one connection while it is idle. */
  readonly isOnDemand: boolean
}

/** Servers close connections with many requests pending: slapd anonymous ones with more than 100. */
const IN_FLIGHT = 64
/** The most reasons that are logged for one outage. */
const REASONS = 5
/** While no server at all is up, each is tried again about this often. */
const MISSED = 1000

export class Server<K = unknown> {
  readonly health: ServerHealth
  /** What whoever asks it has found out about it, for as long as it is listed. */
  readonly knowledge: K
  readonly #options: ServerOptions<K>
  readonly #connections: Connection[] = []
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  /** Why it is down, as far as the log knows. */
  readonly #reasons = new Set<string>()
  #started = false
  #opening = false
  /** It ended the connection when it was asked what can be searched for: it is not asked so again. */
  #endsAtOpen = false
  #growing = false
  #growAfter = 0
  #upAt = 0
  #retry: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(options: ServerOptions<K>) {
    this.#options = options
    this.knowledge = options.newKnowledge()
    this.health = new ServerHealth(options.endpoint.name)
    if (options.isOnDemand) this.health.enter('idle')
    const { least, most } = options.ldap.retry_after
    this.#backoff = new Backoff(least * 2, most)
  }

  get name(): string {
    return this.#options.endpoint.name
  }

  get isUp(): boolean {
    return this.health.state === 'up'
  }

  /** It is being tried for the first time, or again after its connections were lost. */
  get isStarting(): boolean {
    return this.health.state === 'starting' && !this.#closing.signal.aborted
  }

  get isDown(): boolean {
    return this.health.state === 'down'
  }

  report(): ServerReport {
    const inFlight = this.#connections.reduce((sum, connection) => sum + connection.inFlight, 0)
    return this.health.report(this.#connections.length, inFlight)
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

  /** @returns the connection with the fewest searches in flight or to come, if one has room */
  connection(): Connection | undefined {
    let best: Connection | undefined
    for (const one of this.#connections) {
      if (!best || taken(one) < taken(best)) best = one
    }
    if (!best) return undefined
    if (taken(best) > 0 && this.#connections.length < this.#options.ldap.connections) this.#grow()
    return taken(best) < IN_FLIGHT ? best : undefined
  }

  /**
   * A search on this connection had no answer in time.
   * @param sentAt when it was sent
   */
  timedOut(connection: Connection, sentAt: number, { message }: DirectoryError): void {
    // Only that search is slow.
    if (connection.answeredAt > sentAt || connection.ended) return
    const dead = new DirectoryError('connection', message)
    if (this.#connections.some((one) => one !== connection && one.answeredAt > sentAt)) {
      connection.destroy(dead)
    } else {
      this.#lost(dead, connection.openedAt)
    }
  }

  /** A search on this connection ended in a way that makes one doubt the server: tries it. */
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

  /** No other server is up: waits no longer than need be. */
  hurry(): void {
    if (this.health.state === 'down' && !this.#opening) this.#scheduleRetry()
  }

  /** Says goodbye on all connections. */
  close(): void {
    this.#closing.abort()
    clearTimeout(this.#retry)
    clearInterval(this.#idle)
    this.#leave(0)
  }

  /** Nobody asks it: it has no connection and no timer until it is started again. */
  rest(): void {
    clearInterval(this.#idle)
    this.#leave(0)
    this.#started = false
    this.health.enter('idle')
  }

  /** Says goodbye on those that are idle, as far as there are more than so many. */
  #leave(most: number, isIdle = (_: Connection) => true): void {
    for (const connection of this.#connections.filter(isIdle)) {
      if (this.#connections.length <= most) return
      this.#connections.splice(this.#connections.indexOf(connection), 1)
      connection.onEnd = () => {}
      connection.close()
    }
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
      this.#adopt(connection)
      this.#up()
    } catch (error) {
      this.#opening = false
      this.#down(directoryError(error))
    }
  }

  /** What is there can be found without it, so that it is not waited for longer than for a search. */
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
    const { check, ldap } = this.#options
    const results = await Promise.all(
      check.map((operation) => connection.search(operation, ldap.query_timeout)),
    )
    for (const { code, diagnostic, references } of results) {
      if (code !== 0) throw resultError(code, diagnostic, references)
    }
  }

  #adopt(connection: Connection): void {
    this.#connections.push(connection)
    connection.onRoom = this.#options.onRoom
    connection.onEnd = (error) => {
      const index = this.#connections.indexOf(connection)
      if (index >= 0) this.#connections.splice(index, 1)
      if (this.#connections.length === 0) this.#lost(error, connection.openedAt)
    }
  }

  #grow(): void {
    if (this.#growing || this.#closing.signal.aborted || performance.now() < this.#growAfter) return
    const { endpoint, ldap, log } = this.#options
    this.#growing = true
    const grown = () => {
      this.#growing = false
    }
    const open = () => openConnection(endpoint, ldap, this.#closing.signal)
    const grow = () =>
      open()
        .then(
          (connection) => {
            if (this.#closing.signal.aborted || !this.isUp) return connection.close()
            this.#adopt(connection)
            this.#options.onChange()
          },
          (error) => {
            this.#growAfter = performance.now() + ldap.retry_after.most
            log.debug(`${this.name}: no further connection: ${directoryError(error).message}`)
          },
        )
        .finally(grown)
    unattended('further connection to a directory server', grow, grown)
  }

  #tryIdle(): void {
    const { idle, isOnDemand } = this.#options
    const now = performance.now()
    const isIdle = (connection: Connection) =>
      taken(connection) === 0 && now - connection.usedAt >= idle
    if (isOnDemand) this.#leave(1, isIdle)
    for (const connection of this.#connections.filter(isIdle)) {
      unattended('trying an idle connection', () => this.doubt(connection))
    }
  }

  /** The last connection is gone: comes back at once, unless that did not last the last time. */
  #lost(error: DirectoryError, openedAt: number): void {
    if (this.#closing.signal.aborted || this.health.state !== 'up') return
    if (performance.now() - openedAt < this.#options.ldap.retry_after.least) {
      this.#down(error)
      return
    }
    this.#options.log.info(`directory ${this.name}: connecting again: ${error.message}`)
    this.health.failed(error.message)
    this.health.enter('starting')
    this.#drop(error)
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
    // One that keeps failing soon after it came back is tried less and less often.
    const stayedUp = state !== 'down' && performance.now() - this.#upAt > ldap.retry_after.most
    if (stayedUp) this.#backoff.reset()
    this.health.down(error.message)
    if (state !== 'down') this.#reasons.clear()
    const isNews = !this.#reasons.has(error.message) && this.#reasons.size < REASONS
    // An account that is about to be locked is everybody's trouble.
    if (error.failure === 'credentials' || (error.failure === 'waiting' && isNews)) {
      log.error(`directory ${this.name} is down: ${error.message}`)
    } else if (isNews) {
      const level = this.#reasons.size === 0 ? 'warn' : 'info'
      log[level](`directory ${this.name} is down: ${error.message}`)
    }
    if (isNews) this.#reasons.add(error.message)
    this.#drop(error)
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

  /** After a failure of ours: a server that is not tried again would stay down for ever. */
  readonly #openLater = () => {
    this.#opening = false
    if (!this.#closing.signal.aborted) this.#scheduleRetry()
  }

  #drop(error: DirectoryError): void {
    for (const connection of this.#connections.splice(0)) {
      connection.onEnd = () => {}
      connection.destroy(error)
    }
  }
}

/** Whoever waits for another's search will have one of its own. */
const taken = ({ inFlight, questions }: Connection) => Math.max(inFlight, questions)

// The connections to one server: which of them takes the next search, when another one is opened, and when
// newer ones take their place.
import { unattended } from '../guard'
import type { Log } from '../log'
import type { Connection } from './connection'
import { DirectoryError, directoryError } from './directory-error'
import { openConnection } from './open'
import type { Endpoint, LdapOptions } from './options'

export interface PoolOptions {
  readonly endpoint: Endpoint
  readonly ldap: LdapOptions
  readonly log: Log
  /** Ends attempts to connect. */
  readonly signal: AbortSignal
  /** Whether the server may have further connections now. */
  readonly mayGrow: () => boolean
  readonly onGrown: () => void
  /** Called when a connection has room for one more search. */
  readonly onRoom: () => void
  /** Called when the last connection has ended by itself. */
  readonly onEmpty: (error: DirectoryError, openedAt: number) => void
}

/** Servers close connections with many requests pending (slapd: anonymous ones, with over 100). */
const IN_FLIGHT = 64

export class Pool {
  readonly #options: PoolOptions
  /** In the order in which they were opened. */
  readonly #connections: Connection[] = []
  /** Those that newer ones have replaced, until nothing is asked over them. */
  readonly #replaced: Connection[] = []
  #growing = false
  #growAfter = 0

  constructor(options: PoolOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#connections.length
  }

  get inFlight(): number {
    return this.#all.reduce((sum, connection) => sum + connection.inFlight, 0)
  }

  /** Whether something has been answered since, over another connection. */
  hasAnswered(since: number, other: Connection): boolean {
    return this.#all.some((one) => one !== other && one.answeredAt > since)
  }

  /** @returns the connection with the fewest searches in flight or expected, if it has room */
  free(): Connection | undefined {
    let best: Connection | undefined
    for (const one of this.#connections) {
      if (!best || taken(one) < taken(best)) best = one
    }
    if (!best) return undefined
    if (taken(best) > 0 && this.size < this.#options.ldap.connections) this.#grow()
    return taken(best) < IN_FLIGHT ? best : undefined
  }

  /** @returns those over which nothing has been sent for so many milliseconds */
  idle(milliseconds: number): Connection[] {
    const now = performance.now()
    return this.#connections.filter((one) => isFree(one) && now - one.usedAt >= milliseconds)
  }

  adopt(connection: Connection): void {
    this.#connections.push(connection)
    connection.onRoom = this.#options.onRoom
    connection.onEnd = (error) => {
      this.#forget(connection)
      if (this.size === 0) this.#options.onEmpty(error, connection.openedAt)
    }
  }

  /**
   * The newest connection. If it was opened longer ago than `age` milliseconds, a new one takes the place of
   * all that there are: rights and limits may be those of the bind.
   * @throws DirectoryError if there is no new one; the others are then kept
   */
  async newest(age: number): Promise<Connection> {
    const last = this.#connections.at(-1)
    if (last && performance.now() - last.openedAt <= age) return last
    const connection = await this.#open()
    this.#replaced.push(...this.#connections.splice(0, this.#connections.indexOf(connection)))
    this.endReplaced()
    return connection
  }

  /** Whether a newer one, which may show more, has taken its place. */
  hasReplaced(connection: Connection): boolean {
    return this.#replaced.includes(connection)
  }

  /** Unbinds and closes the replaced ones over which nothing is being asked any more. */
  endReplaced(): void {
    this.#close(this.#replaced.filter(isFree))
  }

  /** Unbinds and closes some of these, until no more than `most` are left. */
  leave(most: number, some: readonly Connection[]): void {
    this.#close(some.slice(0, Math.max(0, this.size - most)))
  }

  /** Unbinds and closes all. */
  close(): void {
    this.#close(this.#all)
  }

  /** Ends all at once; requests in flight fail with this error. */
  drop(error: DirectoryError): void {
    for (const one of this.#all) {
      this.#forget(one)
      one.destroy(error)
    }
  }

  get #all(): readonly Connection[] {
    return [...this.#connections, ...this.#replaced]
  }

  #close(some: readonly Connection[]): void {
    for (const one of some) {
      this.#forget(one)
      one.close()
    }
  }

  #forget(connection: Connection): void {
    connection.onEnd = () => {}
    for (const some of [this.#connections, this.#replaced]) {
      const place = some.indexOf(connection)
      if (place >= 0) some.splice(place, 1)
    }
  }

  async #open(): Promise<Connection> {
    const { endpoint, ldap, signal, mayGrow } = this.#options
    const connection = await openConnection(endpoint, ldap, signal)
    if (signal.aborted || !mayGrow()) {
      connection.close()
      throw new DirectoryError('connection', 'closed')
    }
    this.adopt(connection)
    return connection
  }

  #grow(): void {
    const { ldap, log, endpoint, signal, mayGrow, onGrown } = this.#options
    if (this.#growing || signal.aborted || performance.now() < this.#growAfter) return
    this.#growing = true
    const grown = () => {
      this.#growing = false
    }
    const failed = (error: unknown) => {
      if (signal.aborted || !mayGrow()) return
      this.#growAfter = performance.now() + ldap.retry_after.most
      log.debug(`${endpoint.name}: no further connection: ${directoryError(error).message}`)
    }
    const grow = () => this.#open().then(onGrown, failed).finally(grown)
    unattended('further connection to a directory server', grow, grown)
  }
}

/** Counts questions too: one that waits for another's search will send a search of its own. */
const taken = ({ inFlight, questions }: Connection) => Math.max(inFlight, questions)
const isFree = (connection: Connection) => taken(connection) === 0

// The directory: several servers that hold the same list. A question goes to the first that is up;
// when that one fails to answer, to the next, until the time for the whole answer is over. While none
// is up there is nothing to wait for, and that is said at once.
import { setTimeout as sleep } from 'node:timers/promises'
import type { LdapSettings } from '../../settings/settings'
import type { Log } from '../log'
import type { Connection } from './connection'
import { DirectoryError, directoryError } from './directory-error'
import type { ServerReport } from './health'
import { Server } from './server'

/** A question put to one server on one of its connections; throws DirectoryError to ask elsewhere. */
export type Question<T> = (server: Server, connection: Connection, timeout: number) => Promise<T>

/** Questions that wait for a connection with room; more are turned away. */
const WAITING = 2000
/** How long questions under way may still be answered when the directory is closed. */
const GRACE = 1000

export class Directory {
  readonly #ldap: LdapSettings
  readonly #log: Log
  readonly #servers: readonly Server[]
  #waiting: (() => void)[] = []
  #asked = 0
  #closed = false
  #allDown = false

  /** @param check searches that a server must answer with success before it is asked anything else */
  constructor(ldap: LdapSettings, check: readonly Buffer[], log: Log) {
    this.#ldap = ldap
    this.#log = log
    this.#servers = ldap.url.map(
      (url): Server =>
        new Server({
          endpoint: { tls: url.scheme === 'ldaps', host: url.host, port: url.port, name: url.text },
          ldap,
          check,
          log,
          onChange: () => this.#changed(),
          isLast: () => !this.#servers.some((server) => server.isUp),
        }),
    )
  }

  start(): void {
    for (const server of this.#servers) server.start()
  }

  report(): ServerReport[] {
    return this.#servers.map((server) => server.report())
  }

  /**
   * @returns what the first server answers that does
   * @throws DirectoryError when none does within `answer_within`
   */
  async ask<T>(question: Question<T>): Promise<T> {
    this.#asked++
    try {
      return await this.#ask(question)
    } finally {
      this.#asked--
    }
  }

  async #ask<T>(question: Question<T>): Promise<T> {
    const { answer_within, query_timeout } = this.#ldap
    const deadline = performance.now() + answer_within
    const tries = new Map<Server, number>()
    let last: DirectoryError | undefined
    for (;;) {
      const now = performance.now()
      const server = this.#choose(tries)
      if (this.#closed) throw new DirectoryError('connection', 'shutting down')
      if (!server || now >= deadline) throw last ?? this.#unavailable()
      const connection = server.isUp ? server.connection() : undefined
      if (!connection) {
        await this.#change(deadline - now)
        continue
      }
      try {
        const answer = await question(server, connection, Math.min(query_timeout, deadline - now))
        server.health.answered(performance.now() - now)
        return answer
      } catch (thrown) {
        last = directoryError(thrown)
        server.health.unanswered(last)
        // A connection may have been dead already; once more on another one. Anything else: elsewhere.
        const again = last.failure === 'connection' && !tries.has(server)
        tries.set(server, again ? 1 : 2)
        if (last.failure === 'timeout') server.timedOut(connection, now, last)
        else if (last.failure === 'result') void server.doubt(connection)
      }
    }
  }

  /** Waits a moment for the questions under way, then ends all connections. */
  async close(): Promise<void> {
    this.#closed = true
    this.#wakeAll()
    const end = performance.now() + GRACE
    while (this.#asked > 0 && performance.now() < end) await sleep(10)
    for (const server of this.#servers) server.close()
    this.#wakeAll()
  }

  #choose(tries: ReadonlyMap<Server, number>): Server | undefined {
    let starting: Server | undefined
    for (const server of this.#servers) {
      if (tries.get(server) === 2) continue
      if (server.isUp) return server
      if (server.isStarting) {
        server.start()
        starting ??= server
      }
    }
    return starting
  }

  #unavailable(): DirectoryError {
    const [first] = this.#servers
    const reason = first?.health.lastError ?? 'no server'
    return new DirectoryError('connection', `no directory server is up: ${reason}`)
  }

  /** Waits until something may be different, or `within` milliseconds are over. */
  #change(within: number): Promise<void> {
    if (this.#waiting.length >= WAITING) {
      throw new DirectoryError('overload', 'too many searches are waiting')
    }
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, within)
      this.#waiting.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #wakeAll(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  #changed(): void {
    if (this.#waiting.length > 0) this.#wakeAll()
    const allDown = this.#servers.every((server) => server.health.state === 'down')
    if (allDown === this.#allDown || this.#closed) return
    this.#allDown = allDown
    if (allDown) {
      this.#log.error('no directory server can be asked; recipients are deferred')
      for (const server of this.#servers) server.hurry()
    }
  }
}

// The directory: several servers that hold the same list. A question goes to the first server that
// is up and, if that one fails to answer, to the next, until the time for the whole answer is over.
// While no server is up, the question fails at once.
import { setTimeout as sleep } from 'node:timers/promises'
import { every, later, unattended } from '../guard'
import type { Log } from '../log'
import type { Connection } from './connection'
import { DirectoryError, directoryError } from './directory-error'
import { ServerHealth, type ServerReport } from './health'
import type { Endpoint, LdapOptions } from './options'
import { Server, type ServerOptions } from './server'
import { SrvSource } from './srv'
import { Turn } from './turn'

/** Asks one server; a DirectoryError makes the directory ask the next one. */
export type Question<T, K> = (turn: Turn<K>) => Promise<T>

/** The most questions that wait for a connection with room; more are rejected. */
const WAITING = 2000
/** How long `close` waits for questions under way, in milliseconds. */
const GRACE = 1000

/** Milliseconds without a question after which an on-demand directory closes its connections. */
const REST_AFTER = 300_000
/** A directory that was asked within this time, in milliseconds, is missed while it is down. */
const MISSED_FOR = 5000

export interface DirectoryOptions<K> {
  readonly idle?: number
  /** Connects at the first question and disconnects when it is no longer asked; default false. */
  readonly isOnDemand?: boolean
  readonly restAfter?: number
  /** Makes the initial knowledge about a server; `undefined` if none is kept. */
  readonly newKnowledge?: () => K
  readonly onOpen?: ServerOptions<K>['onOpen']
  readonly checkSingly?: ServerOptions<K>['checkSingly']
  /** Called when no server can be asked any longer. */
  readonly onAllDown?: () => void
}

/** @typeParam K what the caller knows about each server */
export class Directory<K = undefined> {
  readonly #ldap: LdapOptions
  readonly #check: readonly Buffer[]
  readonly #log: Log
  readonly #idle: number
  readonly #onOpen: ServerOptions<K>['onOpen']
  readonly #checkSingly: ServerOptions<K>['checkSingly']
  readonly #newKnowledge: () => K
  readonly #onAllDown: () => void
  readonly #isOnDemand: boolean
  readonly #restAfter: number
  /** One for each URL, in order: a server, or a source that finds servers by DNS. */
  readonly #sources: readonly (Endpoint | SrvSource)[]
  /** Servers by name; a server keeps its object while it is listed. */
  #known = new Map<string, Server<K>>()
  /** In the order in which they are asked. */
  #servers: readonly Server<K>[] = []
  #waiting: (() => void)[] = []
  #asked = 0
  #askedAt = Number.NEGATIVE_INFINITY
  #rest: NodeJS.Timeout | undefined
  #isStarted = false
  #isClosed = false
  #isAllDown = false

  /**
   * @param check searches, one of which a server must answer with success before it is asked anything else
   * @param onOpen finds out what a server can be searched for, before it counts as up; may fail
   * @param idle milliseconds until an idle connection is tested: servers and firewalls drop them
   */
  constructor(
    ldap: LdapOptions,
    check: readonly Buffer[],
    log: Log,
    {
      idle = 30_000,
      newKnowledge = () => undefined as K,
      onOpen = async () => {},
      checkSingly,
      onAllDown = () => {},
      isOnDemand = false,
      restAfter = REST_AFTER,
    }: DirectoryOptions<K> = {},
  ) {
    this.#newKnowledge = newKnowledge
    this.#onAllDown = onAllDown
    this.#onOpen = onOpen
    this.#checkSingly = checkSingly
    this.#ldap = ldap
    this.#check = check
    this.#log = log
    this.#idle = idle
    this.#isOnDemand = isOnDemand
    this.#restAfter = restAfter
    this.#sources = ldap.url.map(({ scheme, host, port, text }) =>
      scheme === 'srv'
        ? new SrvSource(host, ldap, log, () => this.#list())
        : { tls: scheme === 'ldaps', host, port, name: text },
    )
    this.#list()
  }

  /** Connects to all servers in the background, unless the directory connects on demand. */
  start(): void {
    if (!this.#isOnDemand) this.#start()
  }

  #start(): void {
    this.#isStarted = true
    if (this.#isOnDemand) {
      clearInterval(this.#rest)
      const rest = () => this.#restWhenIdle()
      this.#rest = every(this.#restAfter / 2, 'rest of a directory', rest).unref()
    }
    for (const source of this.#sources) if (source instanceof SrvSource) source.start()
    for (const server of this.#servers) server.start()
  }

  /** Reports on each server, and on each domain whose servers are not known. */
  report(): ServerReport[] {
    const unresolved = this.#sources.flatMap((source) => {
      if (!(source instanceof SrvSource) || source.endpoints?.length) return []
      const health = new ServerHealth(source.name)
      if (!this.#isStarted && this.#isOnDemand) health.enter('idle')
      if (source.error) health.down(source.error.message)
      return [health.report(0, 0)]
    })
    return [...this.#servers.map((server) => server.report()), ...unresolved]
  }

  /** Those that are known. */
  get servers(): readonly Server<K>[] {
    return this.#servers
  }

  /** Whether every server is known to be down. */
  get isAway(): boolean {
    const isUnknown = (source: SrvSource | Endpoint) =>
      source instanceof SrvSource && !source.endpoints?.length && !source.error
    return (
      this.#sources.length > 0 &&
      this.#servers.every((server) => server.isDown) &&
      !this.#sources.some(isUnknown)
    )
  }

  /**
   * @returns the answer of the first server that gives one
   * @throws DirectoryError if none answers within `answer_within`
   */
  async ask<T>(question: Question<T, K>): Promise<T> {
    this.#asked++
    const wasMissed = this.#isMissed()
    this.#askedAt = performance.now()
    if (this.#isAllDown && !wasMissed) for (const server of this.#servers) server.hurry()
    try {
      return await this.#ask(question)
    } finally {
      this.#asked--
    }
  }

  /** Waits briefly for the questions under way, then ends all connections. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#rest)
    this.#wakeAll()
    const end = performance.now() + GRACE
    while (this.#asked > 0 && performance.now() < end) await sleep(10)
    for (const source of this.#sources) if (source instanceof SrvSource) source.close()
    for (const server of this.#servers) server.close()
  }

  async #ask<T>(question: Question<T, K>): Promise<T> {
    const { answer_within, query_timeout } = this.#ldap
    const deadline = performance.now() + answer_within
    // Even if a server never answers, time is left for the next one.
    const most = Math.min(query_timeout, answer_within * 0.75)
    const failed = new Map<Server<K>, 'once' | 'for good'>()
    let last: DirectoryError | undefined
    let hasWaited = false
    if (!this.#isStarted) this.#start()
    for (;;) {
      if (this.#isClosed) throw new DirectoryError('connection', 'closed')
      const left = deadline - performance.now()
      const usable = this.#servers.filter((one) => one.isUp && failed.get(one) !== 'for good')
      const [server, connection] = withRoom(usable) ?? []
      if (!server || !connection) {
        const isHope = usable.length > 0 || this.#isSomethingStarting(failed)
        if (!isHope || left <= 0) throw last ?? this.#reasonWhyNone()
        await this.#change(left, hasWaited)
        hasWaited = true
        continue
      }
      if (left <= 0) throw last ?? new DirectoryError('timeout', 'no answer in time')
      const turn = new Turn(server, connection, Math.min(most, left))
      connection.questions++
      try {
        const answer = await question(turn)
        server.health.answered(performance.now() - turn.startedAt)
        return answer
      } catch (thrown) {
        last = directoryError(thrown)
        server.health.unanswered(last)
        // The connection may have been dead already, so the same server gets a second attempt on
        // another connection. After any other failure, the next server is asked.
        const again = last.failure === 'connection' && !failed.has(server)
        failed.set(server, again ? 'once' : 'for good')
        if (last.failure === 'result')
          unattended('trying a directory server', () => server.doubt(connection))
        // A search that had less than the full time says nothing about the server.
        if (last.failure === 'timeout' && turn.timeout === most) {
          server.timedOut(connection, turn.startedAt, last)
        }
      } finally {
        connection.questions--
        this.#waiting.shift()?.()
      }
    }
  }

  /** Whether the directory is being asked; this is assumed if it does not connect on demand. */
  #isMissed(): boolean {
    return !this.#isOnDemand || performance.now() - this.#askedAt < MISSED_FOR
  }

  /** A server that is down is still retried: the reports must show that it is down, or back. */
  #restWhenIdle(): void {
    const isIdle = this.#asked === 0 && performance.now() - this.#askedAt >= this.#restAfter
    if (!isIdle || !this.#servers.every((server) => server.isUp)) return
    clearInterval(this.#rest)
    this.#isStarted = false
    for (const server of this.#servers) server.rest()
  }

  #isSomethingStarting(failed: ReadonlyMap<Server<K>, string>): boolean {
    return (
      this.#servers.some((server) => server.isStarting && failed.get(server) !== 'for good') ||
      this.#sources.some((source) => source instanceof SrvSource && !source.endpoints)
    )
  }

  #reasonWhyNone(): DirectoryError {
    const reasons = this.report().flatMap(({ lastError }) => lastError ?? [])
    return new DirectoryError('connection', `no server is up: ${reasons[0] ?? 'none is known'}`)
  }

  /** Takes the servers that the sources list now, and closes those no longer listed. */
  #list(): void {
    const former = this.#known
    this.#known = new Map()
    for (const source of this.#sources) {
      for (const endpoint of source instanceof SrvSource ? (source.endpoints ?? []) : [source]) {
        const { name } = endpoint
        if (this.#known.has(name)) continue
        this.#known.set(name, former.get(name) ?? this.#newServer(endpoint))
        former.delete(name)
      }
    }
    this.#servers = [...this.#known.values()]
    for (const server of former.values()) server.close()
    if (this.#isStarted) for (const server of this.#servers) server.start()
    this.#changed()
  }

  #newServer(endpoint: Endpoint): Server<K> {
    return new Server({
      endpoint,
      ldap: this.#ldap,
      check: this.#check,
      checkSingly: this.#checkSingly,
      newKnowledge: this.#newKnowledge,
      onOpen: this.#onOpen,
      log: this.#log,
      idle: this.#idle,
      onChange: () => this.#changed(),
      onRoom: () => this.#waiting.shift()?.(),
      isMissed: () => this.#isMissed() && !this.#servers.some((server) => server.isUp),
      isOnDemand: this.#isOnDemand,
    })
  }

  /**
   * Waits until something may have changed, or for `within` milliseconds.
   * @param isNext the question has waited before, so it precedes those that came later
   */
  #change(within: number, isNext: boolean): Promise<void> {
    if (this.#waiting.length >= WAITING) {
      throw new DirectoryError('overload', 'too many searches are waiting')
    }
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        resolve()
      }
      const over = () => {
        this.#waiting = this.#waiting.filter((one) => one !== wake)
        resolve()
      }
      const timer = later(within, 'wait for a directory server', over, over)
      if (isNext) this.#waiting.unshift(wake)
      else this.#waiting.push(wake)
    })
  }

  #wakeAll(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  #changed(): void {
    this.#wakeAll()
    const isAllDown =
      this.#servers.every((server) => server.isDown) &&
      this.#sources.every((source) => !(source instanceof SrvSource) || source.endpoints)
    if (isAllDown === this.#isAllDown || this.#isClosed) return
    this.#isAllDown = isAllDown
    if (!isAllDown) return
    this.#onAllDown()
    for (const server of this.#servers) server.hurry()
    for (const source of this.#sources) if (source instanceof SrvSource) source.hurry()
  }
}

/** The first server that has room for a search now, even if a preferred one is busy. */
function withRoom<K>(servers: readonly Server<K>[]): [Server<K>, Connection] | undefined {
  for (const server of servers) {
    const connection = server.connection()
    if (connection) return [server, connection]
  }
  return undefined
}

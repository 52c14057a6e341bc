// The connection to Redis. Nobody waits for it longer than a moment: while Redis does not answer,
// is full or is read-only, callers go on without it. That is logged once, and Redis is tried again
// automatically.
import type { RedisClientType } from '@redis/client'
import { guard, later, soon, unattended } from '../guard'
import type { Log } from '../log'
import type { RedisSettings } from '../settings/redis'
import { ROOT_AND_US, readTrusted } from '../trusted-file'

export type RedisClient = RedisClientType

/** Loaded only if Redis is used: it would be half of all that the gal-relay command loads. */
export const library = () => require('@redis/client') as typeof import('@redis/client')

/** Redis cannot be asked now. The message says why. */
export class RedisAway extends Error {}

/** How long an answer may take, milliseconds. */
const ANSWER_WITHIN = 50
/** How long nobody asks after a failure, milliseconds. */
const ASKED_AGAIN = 1000
/** How long a missing connection is not reported after the start, milliseconds. */
const STARTING = 3000
const CONNECT_WITHIN = 2000
const RECONNECT = 500
/** Milliseconds before another try if opening fails, such as for a file that cannot be read. */
const OPENED_AGAIN = 2000
/** A socket that is silent this long is given up, because Redis is asked once a second. */
const SILENT = 5000
/** TTL of the key that shows whether Redis may be written to, seconds. */
const PROBE_LIVES = 60

export type RedisState = 'starting' | 'up' | 'down'

export interface RedisReport {
  readonly server: string
  readonly state: RedisState
  readonly lastError: string | undefined
}

/** Connects in the background. The caller must close it. */
export class RedisLink {
  readonly prefix: string
  readonly #settings: RedisSettings
  readonly #log: Log
  readonly #startedAt = performance.now()
  #client: RedisClient | undefined
  #isClosed = false
  #state: RedisState = 'starting'
  #lastError: string | undefined
  #failedAt = 0
  #askAt = 0

  constructor(settings: RedisSettings, log: Log) {
    this.#settings = settings
    this.prefix = settings.prefix
    this.#log = log
    const open = () => this.#open()
    const openAgain = (error: unknown) => {
      this.#failed(error)
      if (this.#isClosed) return
      if (this.#client) endClient(this.#client)
      later(OPENED_AGAIN, 'another connection to Redis', open, openAgain).unref()
    }
    unattended('connection to Redis', open, openAgain)
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  report(): RedisReport {
    const server = this.#settings.url.map(({ text }) => text).join(', ')
    return { server, state: this.#state, lastError: this.#lastError }
  }

  /**
   * @param work if it rejects, or takes longer than a moment, Redis is not asked again for a second
   * @throws RedisAway
   */
  async use<T>(work: (client: RedisClient) => Promise<T>): Promise<T> {
    const begun = performance.now()
    if (begun < this.#askAt) throw new RedisAway(this.#lastError)
    // While Redis is away, only one caller at a time asks.
    if (this.#state === 'down') this.#askAt = begun + ASKED_AGAIN
    try {
      const client = this.#client
      if (!client?.isReady) throw new RedisAway(this.#lastError ?? 'there is no connection')
      const result = await inTime(work(client))
      this.#answered(begun)
      return result
    } catch (error) {
      this.#failed(error)
      throw new RedisAway(reasonOf(error))
    }
  }

  /** Finds out whether Redis may be written to, unless that is known. */
  async probe(client: RedisClient): Promise<void> {
    if (this.#state === 'up') return
    const expiration = { type: 'EX', value: PROBE_LIVES } as const
    await client.set(`${this.prefix}probe`, '1', { expiration })
  }

  close(): void {
    this.#isClosed = true
    if (this.#client) endClient(this.#client)
  }

  async #open(): Promise<void> {
    if (this.#isClosed) return
    const client = await clientFor(this.#settings, (error) => {
      this.#lastError = reasonOf(error)
    })
    client.on(
      'ready',
      guard('connection to Redis is ready', () => {
        this.#askAt = 0
      }),
    )
    this.#client = client
    if (this.#isClosed) return
    await client.connect()
  }

  #answered(begun: number): void {
    // A later command may have failed already.
    if (begun < this.#failedAt || this.#state === 'up') return
    if (this.#state === 'down') this.#log.notice('Redis answers again: counts are shared')
    this.#state = 'up'
    this.#askAt = 0
  }

  #failed(error: unknown): void {
    if (this.#isClosed) return
    const now = performance.now()
    this.#lastError = reasonOf(error)
    this.#failedAt = now
    this.#askAt = now + ASKED_AGAIN
    if (this.#state === 'down') return
    if (this.#state === 'starting' && now - this.#startedAt < STARTING) return
    this.#state = 'down'
    this.#log.warn(
      `Redis cannot be asked (${this.#lastError}): each process counts for itself until it can`,
    )
  }
}

/**
 * Creates a client of one server or, if several are given, of the one that they name as Sentinels.
 * It reconnects by itself.
 * @param onError is called with each error of the connection
 * @param within if given, the client tries to connect only once, for this many milliseconds
 */
export async function clientFor(
  settings: RedisSettings,
  onError: (error: unknown) => void,
  within?: number,
): Promise<RedisClient> {
  const client = await createFor(settings, within)
  client.on('error', guard('error of Redis', onError))
  return client
}

/** Ends a client, whatever state it is in. */
export function endClient(client: RedisClient): void {
  // On a closed client, destroy() would throw.
  if (client.isOpen) client.destroy()
}

async function createFor(settings: RedisSettings, within?: number): Promise<RedisClient> {
  const { url, tls_ca, password_file, trusted = ROOT_AND_US } = settings
  const [first] = url
  if (!first) throw new Error('no Redis server is named')
  const ca = tls_ca ? await readTrusted(tls_ca, trusted) : undefined
  const { username, password, tls, host, port, path } = first
  const credentials = async () => ({
    username,
    password: password_file
      ? firstLine(await readTrusted(password_file, trusted))
      : (password ?? ''),
  })
  const times = {
    connectTimeout: within ?? CONNECT_WITHIN,
    socketTimeout: SILENT,
    reconnectStrategy: within === undefined ? RECONNECT : (false as const),
  }
  const options = {
    ...(password_file || password !== undefined
      ? { credentialsProvider: { type: 'async-credentials-provider', credentials } as const }
      : {}),
    disableOfflineQueue: true,
  }
  const secured = tls ? ({ tls: true, ca, ...nameFor(host) } as const) : {}
  if (url.length === 1) {
    const socket = first.socket
      ? { path: first.socket, ...times }
      : { host, port, ...times, ...secured }
    return library().createClient({
      ...options,
      socket,
      database: Number(path || 0),
    }) as RedisClient
  }
  const socket = { ...times, ...(tls ? { tls: true as const, ca } : {}) }
  const sentinel = library().createSentinel({
    name: path || 'mymaster',
    sentinelRootNodes: url.map(({ host, port }) => ({ host, port })),
    nodeClientOptions: { ...options, socket },
    sentinelClientOptions: { socket },
  })
  // Both have the same commands.
  return sentinel as unknown as RedisClient
}

/** TLS sends host names in its hello, but never addresses. */
const nameFor = (host: string) => (/^[\d.]+$|:/.test(host) ? {} : { servername: host })

function firstLine(file: Buffer): string {
  return file.toString('utf8').split(/\r?\n/, 1)[0] ?? ''
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const fail = () => reject(new RedisAway(`no answer within ${ANSWER_WITHIN} ms`))
    // First read what came in while this process was busy; only then does the answer count as late.
    const end = () => soon('late answer of Redis', fail, fail)
    timer = later(ANSWER_WITHIN, 'answer of Redis', end, fail)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

// A real Haraka that asks directories, under a steady load of RCPTs on connections that stay open. Valid
// and unknown recipients take turns. It may be restarted; every reply that it ever gave counts.
import assert from 'node:assert/strict'
import { type Asked, assertNothingWrong, type Load, startLoad } from '../gal/load'
import { type Haraka, startHaraka } from '../support/haraka'
import { connectSmtp, type SmtpClient } from '../support/smtp'
import { startStopwatch } from '../support/stopwatch'
import { until } from '../support/until'

/** Milliseconds. */
export const QUERY_TIMEOUT = 800
const ANSWER_WITHIN = 2500
const END_WITHIN = 2000

/** How a directory is asked: keys of `[gal]`, and for the list in memory of `[directory]`. */
export const LIVE = 'cache_found = 0s\ncache_absent = 0s\ncache_stale = 0s\n'
export const CACHED = 'cache_found = 1s\ncache_absent = 0s\ncache_stale = 4h\n'
export const SNAPSHOT = `mode = snapshot\n${LIVE}changes_every = 1s\n`

/** VALID of load.ts are in a directory at each of these domains. */
export const DOMAINS = ['example.com', 'second.example', 'third.example'] as const
export type Domain = (typeof DOMAINS)[number]

/** The domain of the directory that nothing is ever wrong with. */
export const BESIDE = 'beside.example'

/** An address of VALID at another domain. */
export const addressAt = (domain: string, address: string) => address.replace(/@.*/, `@${domain}`)

export interface DirectoryOptions {
  readonly urls: readonly string[]
  readonly base: string
  /** LIVE, CACHED or SNAPSHOT; example.com must not have the list in memory. */
  readonly gal: string
}

export interface GatewayOptions {
  /** The directory of each domain. The one of example.com is the default directory. */
  readonly directories: Readonly<Partial<Record<Domain, DirectoryOptions>>>
  /** More lines of `[ldap]`, and of each `[directory]`. */
  readonly ldap: string
  /** Milliseconds for connecting and for a search; default QUERY_TIMEOUT */
  readonly timeout?: number
  /** See `LoadOptions`. */
  readonly pause: number
  /** A directory with which nothing is ever wrong; it has VALID at BESIDE. */
  readonly beside?: { readonly url: string; readonly base: string }
  /** Resolves when mail may come in. */
  readonly ready?: (haraka: Haraka) => Promise<void>
}

/** One domain of a gateway, and the mail to it. */
export interface Recipients {
  readonly haraka: Haraka
  /** Since the gateway was last started. */
  readonly load: Load
  /** Waits for the next replies. */
  next(): Promise<Asked[]>
  /**
   * Waits until all recipients are answered, and no slower than before.
   * @param normal a median in milliseconds
   * @returns how many milliseconds that took, by a stopwatch
   */
  untilNormal(normal: () => number): Promise<number>
}

export interface Gateway {
  readonly haraka: Haraka
  /** @throws Error if the gateway has no directory for the domain */
  at(domain: Domain): Recipients
  /** How long recipients of the directory beside take now: a median in milliseconds. */
  beside(): number
  /**
   * Ends it in the middle of the load and starts it again, and the load with it.
   * @param how SIGTERM ends it at once; nothing may keep it from ending gracefully
   * @throws AssertionError if that takes too long
   */
  restart(how: 'graceful' | 'SIGTERM'): Promise<void>
  /** @throws AssertionError if a reply was wrong or late, or the log shows a bug */
  assertNothingWrong(): void
  close(): Promise<void>
}

/** The number of connections for each domain. */
const CLIENTS = 4
/** The number of replies that show how it is now. */
const RECENT = 16
/** Recipients in one transaction; another follows on the same connection. */
const RECIPIENTS = 100

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { directories, pause, beside } = options
  const haraka = await startHaraka({
    plugins: ['gal-relay', 'test-queue', 'test-heap'],
    logLevel: 'notice',
    proxy: false,
    isGraceful: true,
    ini: iniOf(options),
  })
  const domains = Object.keys(directories) as Domain[]
  const open = () => openSession(haraka.port, pause, domains, beside !== undefined)
  const opened = async () => {
    await options.ready?.(haraka)
    return open()
  }
  let session = await opened().catch(async (error) => {
    await haraka.stop('SIGKILL')
    throw error
  })

  function assertSession(): void {
    for (const load of session.loads.values()) {
      const asked = load.since(0)
      assertNothingWrong(asked, ANSWER_WITHIN)
      const strange = asked.filter(({ state }) => !REGULAR.has(state))
      assert.deepEqual(strange.slice(0, 3), [])
    }
    assert.deepEqual(haraka.logLines(BUG), [])
    // Whatever befalls the other directories.
    const others = session.beside?.since(0) ?? []
    assert.equal(others.length > 0, beside !== undefined)
    const right = (isValid: boolean) => (isValid ? 'found' : 'absent')
    const wrong = others.filter((one) => one.state !== ENDED && one.state !== right(one.isValid))
    assert.deepEqual(wrong.slice(0, 3), [])
  }

  async function end(how: 'graceful' | 'SIGTERM'): Promise<void> {
    // Haraka waits for its clients when it ends gracefully.
    if (how === 'graceful') session.hangUp()
    else session.allowLostConnections()
    const stopwatch = startStopwatch()
    const { signal, code } = await haraka.end(how === 'graceful' ? 'SIGINT' : 'SIGTERM')
    const took = stopwatch.now
    stopwatch.stop()
    assert.ok(took < END_WITHIN, `it took ${took} ms to end at ${how}: ${signal ?? code}`)
    session.hangUp()
    await session.stop()
    assertSession()
  }

  function recipientsAt(domain: Domain): Recipients {
    const load = () => {
      const found = session.loads.get(domain)
      if (!found) throw new Error(`no directory for ${domain}`)
      return found
    }
    return {
      haraka,
      get load() {
        return load()
      },
      async next() {
        const from = load().now
        await until(() => load().since(from).length >= RECENT)
        return load().since(from)
      },
      async untilNormal(normal) {
        const from = load().now
        const stopwatch = startStopwatch()
        const recent = () => load().since(from).slice(-RECENT)
        const isNormal = () => {
          const replies = recent()
          const isAnswered = replies.every(({ state }) => state !== 'unavailable')
          return replies.length === RECENT && isAnswered && median(replies) <= normal() * 2
        }
        try {
          await until(isNormal, () => `${domain}: ${described(recent())}`)
          return stopwatch.now
        } finally {
          stopwatch.stop()
        }
      },
    }
  }

  return {
    haraka,
    at: recipientsAt,
    beside: () => median(session.beside?.since(0).slice(-RECENT) ?? []),
    async restart(how) {
      await end(how)
      await haraka.restart()
      session = await open()
    },
    assertNothingWrong: assertSession,
    async close() {
      session.hangUp()
      await session.stop()
      await haraka.stop('SIGTERM')
    },
  }
}

function iniOf({
  directories,
  ldap,
  timeout = QUERY_TIMEOUT,
  beside,
}: Omit<GatewayOptions, 'pause'>): string {
  const [first, ...others] = Object.entries(directories)
  const server = ({ urls, base }: DirectoryOptions) =>
    `${urls.map((url) => `url[] = ${url}\n`).join('')}base = ${base}\n${ldap}`
  const section = ([domain, directory]: [string, DirectoryOptions]) =>
    `[directory ${domain}]\ndomains[] = ${domain}\n${server(directory)}${directory.gal}`
  assert.ok(first && first[0] === DOMAINS[0])
  return `[routes]
${[...Object.keys(directories), BESIDE].map((domain) => `${domain} = inbound\n`).join('')}
[ldap]
connect_timeout = ${timeout}ms
query_timeout = ${timeout}ms
answer_within = ${ANSWER_WITHIN}ms
${server(first[1])}
[gal]
${first[1].gal}
${others.map(section).join('')}
${beside ? besideIni(beside) : ''}
`
}

/** A busy machine must not make this directory time out. */
const besideIni = ({ url, base }: { readonly url: string; readonly base: string }) => `
[directory beside]
domains[] = ${BESIDE}
url[] = ${url}
base = ${base}
connect_timeout = 25s
query_timeout = 25s
answer_within = 25s
`

interface Session {
  readonly loads: ReadonlyMap<Domain, Load>
  readonly beside: Load | undefined
  /** The server may close connections from now on. */
  allowLostConnections(): void
  /** Closes all connections, whatever they are waiting for. */
  hangUp(): void
  /** Ends the loads. */
  stop(): Promise<void>
}

async function openSession(
  port: number,
  pause: number,
  domains: readonly Domain[],
  isBeside: boolean,
): Promise<Session> {
  const connected = async (domain: string) => {
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(port)))
    return [domain, clients] as const
  }
  const all = new Map(await Promise.all([...domains, BESIDE].map(connected)))
  let isEnding = false

  async function answer(address: string, free: Client[]): Promise<{ state: string }> {
    const client = free.pop()
    assert.ok(client)
    try {
      if (client.recipients++ % RECIPIENTS === 0) {
        await client.smtp.rset()
        assert.equal((await client.smtp.mail('a@sender.example')).code, 250)
      }
      const { line } = await client.smtp.rcpt(address)
      return { state: STATES.find(([start]) => line.startsWith(start))?.[1] ?? line }
    } catch (error) {
      return { state: isEnding ? ENDED : String(error) }
    } finally {
      free.push(client)
    }
  }
  function start(domain: string, every: number): Load {
    const free = (all.get(domain) ?? []).map((smtp) => ({ smtp, recipients: 0 }))
    const answerer = { answer: (address: string) => answer(addressAt(domain, address), free) }
    return startLoad(answerer, { askers: CLIENTS, pause: every })
  }

  const beside = isBeside ? start(BESIDE, PAUSE_BESIDE) : undefined
  const loads = new Map(domains.map((domain) => [domain, start(domain, pause)]))
  return {
    loads,
    beside,
    allowLostConnections() {
      isEnding = true
    },
    hangUp() {
      isEnding = true
      for (const client of [...all.values()].flat()) client.close()
    },
    async stop() {
      await Promise.all([beside, ...loads.values()].map((load) => load?.stop()))
    },
  }
}

interface Client {
  readonly smtp: SmtpClient
  /** The number of recipients so far. */
  recipients: number
}

const PAUSE_BESIDE = 250

async function connect(port: number): Promise<SmtpClient> {
  const smtp = await connectSmtp({ port })
  await smtp.ehlo()
  return smtp
}

const STATES = [
  ['250 ', 'found'],
  ['550 5.1.1 ', 'absent'],
  ['451 4.4.3 ', 'unavailable'],
] as const
const ENDED = 'ended'
const REGULAR: ReadonlySet<string> = new Set([...STATES.map(([, state]) => state), ENDED])

const BUG =
  /\[CRIT\]|\[ERROR\].*(failed:|failure in|process that keeps)|plugin timeout|exception|naturally|^\s+at /i

/** @returns milliseconds; Infinity for an empty list */
export function median(asked: readonly Asked[]): number {
  const all = asked.map(({ took }) => took).sort((a, b) => a - b)
  return all[Math.floor(all.length / 2)] ?? Number.POSITIVE_INFINITY
}

function described(asked: readonly Asked[]): string {
  const states = new Set(asked.map(({ state }) => state))
  return `${asked.length} replies, ${[...states].join(' and ')}, median ${median(asked)} ms`
}

// A real Haraka that asks a directory, under a steady load of RCPTs on connections that stay open,
// valid and unknown recipients by turns. It may be restarted; every reply that it ever gave counts.
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

/** What of each Haraka's `[gal]` and `[snapshot]` the tests need. */
export const LIVE = 'cache_found = 0s\ncache_absent = 0s\ncache_stale = 0s\n'
export const CACHED = 'cache_found = 1s\ncache_absent = 0s\ncache_stale = 4h\n'
export const SNAPSHOT = `mode = snapshot\n${LIVE}[snapshot]\nchanges_every = 1s\n`

export interface GatewayOptions {
  readonly urls: readonly string[]
  readonly base: string
  /** The lines of `[gal]`, and more sections. */
  readonly gal: string
  /** More lines of `[ldap]`. */
  readonly ldap: string
  /** Milliseconds for connecting and for a search; default QUERY_TIMEOUT */
  readonly timeout?: number
  /** See `LoadOptions`. */
  readonly pause: number
  /** A second directory with which nothing is ever wrong; it has VALID at BESIDE. */
  readonly beside?: { readonly url: string; readonly base: string }
  /** A line of the log before which no mail comes in. */
  readonly ready?: RegExp
}

/** The domain of the second directory. */
export const BESIDE = 'beside.example'

export interface Gateway {
  readonly haraka: Haraka
  /** The load on it since it was started last. */
  readonly load: Load
  /** The next replies. */
  next(): Promise<Asked[]>
  /** How long recipients of the second directory take now: a median in milliseconds. */
  beside(): number
  /**
   * Waits until all recipients are answered, and no slower than before.
   * @param normal a median in milliseconds
   * @returns how many milliseconds that took, by a stopwatch
   */
  untilNormal(normal: () => number): Promise<number>
  /**
   * Ends it in the middle of the load and starts it again, and the load with it.
   * @param how SIGTERM ends it at once; at a graceful end it must not be kept by anything
   * @throws AssertionError when that takes longer than it may
   */
  restart(how: 'graceful' | 'SIGTERM'): Promise<void>
  /** @throws AssertionError when a reply was wrong or late, or the log tells of a bug */
  assertNothingWrong(): void
  /** Ends it all. */
  close(): Promise<void>
}

const CLIENTS = 4
/** So many replies show how it is now. */
const RECENT = 16
/** Then comes another transaction on the same connection. */
const RECIPIENTS = 100

/** @throws what the first threw that did not start; then none is left */
export async function startGateways(options: readonly GatewayOptions[]): Promise<Gateway[]> {
  const started = await Promise.allSettled(options.map(startGateway))
  const gateways = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = started.find((one) => one.status === 'rejected')
  if (!failed) return gateways
  await Promise.all(gateways.map((one) => one.close()))
  throw failed.reason
}

async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { urls, base, gal, ldap, timeout = QUERY_TIMEOUT, pause, beside } = options
  const haraka = await startHaraka({
    plugins: ['gal-relay', 'test-queue', 'test-heap'],
    logLevel: 'notice',
    proxy: false,
    isGraceful: true,
    ini: `[routes]
example.com = inbound
${BESIDE} = inbound
[ldap]
${urls.map((url) => `url[] = ${url}\n`).join('')}base = ${base}
connect_timeout = ${timeout}ms
query_timeout = ${timeout}ms
answer_within = ${ANSWER_WITHIN}ms
${ldap}
[gal]
${gal}
${beside ? besideIni(beside) : ''}
`,
  })
  if (options.ready) await haraka.waitForLog(options.ready)
  const open = () => openSession(haraka.port, pause, beside !== undefined)
  let session = await open()

  function assertSession(): void {
    const asked = session.load.since(0)
    assertNothingWrong(asked, ANSWER_WITHIN)
    const strange = asked.filter(({ state }) => !REGULAR.has(state))
    assert.deepEqual(strange.slice(0, 3), [])
    assert.deepEqual(haraka.logLines(BUG), [])
    // Whatever befalls the first directory.
    const others = session.beside?.since(0) ?? []
    assert.equal(others.length > 0, beside !== undefined)
    const right = (isValid: boolean) => (isValid ? 'found' : 'absent')
    const wrong = others.filter((one) => one.state !== ENDED && one.state !== right(one.isValid))
    assert.deepEqual(wrong.slice(0, 3), [])
  }

  async function end(how: 'graceful' | 'SIGTERM'): Promise<void> {
    // Haraka waits for its clients when it ends gracefully.
    if (how === 'graceful') session.hangUp()
    else session.isEnding = true
    const stopwatch = startStopwatch()
    const { signal, code } = await haraka.end(how === 'graceful' ? 'SIGINT' : 'SIGTERM')
    const took = stopwatch.now
    stopwatch.stop()
    assert.ok(took < END_WITHIN, `it took ${took} ms to end at ${how}: ${signal ?? code}`)
    session.hangUp()
    await Promise.all([session.load.stop(), session.beside?.stop()])
    assertSession()
  }

  return {
    haraka,
    get load() {
      return session.load
    },
    async next() {
      const { load } = session
      const from = load.now
      await until(() => load.since(from).length >= RECENT)
      return load.since(from)
    },
    beside: () => median(session.beside?.since(0).slice(-RECENT) ?? []),
    async untilNormal(normal) {
      const { load } = session
      const from = load.now
      const stopwatch = startStopwatch()
      const isNormal = () => {
        const recent = load.since(from).slice(-RECENT)
        const isAnswered = recent.every(({ state }) => state !== 'unavailable')
        return recent.length === RECENT && isAnswered && median(recent) <= normal() * 2
      }
      try {
        await until(isNormal, () => told(load.since(from).slice(-RECENT)))
        return stopwatch.now
      } finally {
        stopwatch.stop()
      }
    },
    async restart(how) {
      await end(how)
      await haraka.restart()
      session = await open()
    },
    assertNothingWrong: assertSession,
    async close() {
      session.hangUp()
      await Promise.all([session.load.stop(), session.beside?.stop()])
      await haraka.stop('SIGTERM')
    },
  }
}

/** It is well, however busy the machine is. */
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
  readonly load: Load
  /** On the second directory, with connections of its own. */
  readonly beside: Load | undefined
  /** Connections may be lost from now on. */
  isEnding: boolean
  /** Ends all connections, whatever is under way. */
  hangUp(): void
}

async function openSession(port: number, pause: number, isBeside: boolean): Promise<Session> {
  const connectAll = () => Promise.all(Array.from({ length: CLIENTS }, () => connect(port)))
  const clients = await connectAll()
  const others = isBeside ? await connectAll() : []

  const answerer = (all: readonly SmtpClient[]) => {
    const free = all.map((smtp) => ({ smtp, recipients: 0 }))
    return (address: string) => answer(address, free)
  }
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
      return { state: session.isEnding ? ENDED : String(error) }
    } finally {
      free.push(client)
    }
  }

  const session: Session = {
    load: startLoad({ answer: answerer(clients) }, { askers: CLIENTS, pause }),
    beside: isBeside ? startLoad({ answer: besideOf(answerer(others)) }, LOAD_BESIDE) : undefined,
    isEnding: false,
    hangUp() {
      session.isEnding = true
      for (const client of [...clients, ...others]) client.close()
    },
  }
  return session
}

interface Client {
  readonly smtp: SmtpClient
  /** So far. */
  recipients: number
}

const LOAD_BESIDE = { askers: CLIENTS, pause: 250 }

const besideOf = (answer: (address: string) => Promise<{ state: string }>) => (address: string) =>
  answer(address.replace(/@.*/, `@${BESIDE}`))

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

/** @returns milliseconds; of none, infinitely many */
export function median(asked: readonly Asked[]): number {
  const all = asked.map(({ took }) => took).sort((a, b) => a - b)
  return all[Math.floor(all.length / 2)] ?? Number.POSITIVE_INFINITY
}

function told(asked: readonly Asked[]): string {
  const states = new Set(asked.map(({ state }) => state))
  return `${asked.length} replies, ${[...states].join(' and ')}, median ${median(asked)} ms`
}

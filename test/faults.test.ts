// Everything that can go wrong with a directory, as senders see it: real Harakas under a steady load of
// RCPTs. No valid recipient is ever refused, no unknown one accepted, and every reply comes in time. With
// another server, with the list in memory or with a remembered answer, no valid recipient is deferred
// either. Haraka ends when it is told to, and starts whatever the directory does. Recipients of a second
// directory notice nothing.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  addressAt,
  BESIDE,
  CACHED,
  DOMAINS,
  type Gateway,
  LIVE,
  median,
  QUERY_TIMEOUT,
  type Recipients,
  SNAPSHOT,
  startGateway,
} from './faults/gateway'
import { DEAD_AT_START, type Place, SCENARIOS } from './faults/outages'
import { type Asked, VALID } from './gal/load'
import { type Slapd, startSlapd } from './support/slapd'
import { TICK } from './support/stopwatch'
import { until } from './support/until'

/** Milliseconds from the directory's return until all is normal, where an undisturbed reply takes QUICK at most. */
const BACK_WITHIN = 5000
const QUICK = 10

const LIST = new RegExp(`the list is in force: ${DOMAINS.length * VALID.length} recipients`)

/** Scenarios whose list is being read, which only happens on a processor that mail leaves idle. */
const reading = new Set(SCENARIOS.filter(({ skip }) => !skip).map(({ name }) => name))

describe('faults of a directory', { concurrency: SCENARIOS.length }, () => {
  for (const { name, skip, pause, faults, open } of SCENARIOS) {
    describe(name, { skip, concurrency: 1 }, () => {
      let place: Place
      /** The second directory. */
      let other: Slapd
      /** Haraka is restarted during each fault. */
      let restarted: Gateway
      /** Haraka runs all the time: it keeps what it remembers. */
      let running: Gateway
      let both: readonly Gateway[] = []
      /** Nothing but this directory; the list in memory; a second server. */
      let alone: Recipients
      let listed: Recipients
      let failoverFromStart: Recipients
      /** Remembered answers; a second server. */
      let cached: Recipients
      let failover: Recipients
      let all: readonly Recipients[] = []
      let normal: readonly number[]
      /** How much slower than before undisturbed recipients are, which is the machine's doing. */
      let slowness: () => number

      before(async () => {
        const [first, second, third] = DOMAINS
        const options = () => ({ ldap: place.ldap, pause })
        const directory = (gal: string, ...urls: string[]) => ({ urls, base: place.base, gal })
        try {
          place = await open()
          other = await startSlapd({ entries: VALID.map((one) => addressAt(BESIDE, one)) })
          const { url } = place
          restarted = await startGateway({
            ...options(),
            directories: {
              [first]: directory(LIVE, url),
              [second]: directory(SNAPSHOT, url),
              [third]: directory(LIVE, url, place.second),
            },
            beside: other,
            // From now on it has the list from the start.
            async ready(haraka) {
              await haraka.waitForLog(LIST)
              reading.delete(name)
              await until(() => reading.size === 0)
            },
          })
        } finally {
          reading.delete(name)
        }
        both = [restarted]
        running = await startGateway({
          ...options(),
          directories: {
            [first]: directory(CACHED, place.url),
            [second]: directory(LIVE, place.url, place.second),
          },
        })
        both = [restarted, running]
        ;[alone, listed, failoverFromStart] = [first, second, third].map(restarted.at) as [
          Recipients,
          Recipients,
          Recipients,
        ]
        ;[cached, failover] = [running.at(first), running.at(second)]
        all = [alone, cached, listed, failover, failoverFromStart]
        // All answers are remembered, and every load has settled.
        await until(() => foundBy(cached).size === VALID.length)
        await until(() => all.every(({ load }) => load.since(load.now - 1000).every(isAnswered)))
        normal = all.map(({ load }) => median(load.since(load.now - 1000)))
        const undisturbed = restarted.beside()
        slowness = () => Math.max(1, (restarted.beside() + TICK) / (undisturbed + TICK))
      })
      after(async () => {
        await Promise.all(both.map((one) => one.close()))
        await place?.close()
        await other?.stop()
      })

      for (const [index, fault] of faults.entries()) {
        test(fault, async (t) => {
          const inCached = cached.load.now
          const inListed = listed.load.now
          const inFailover = failover.load.now
          await place.begin(fault)
          try {
            await until(() => isDeferring(alone))
            await assertAllDeferred(alone)
            await sleep(QUERY_TIMEOUT)
            assertFound(listed, inListed)
            assertAnswered(failover, inFailover + QUERY_TIMEOUT)
            // Haraka leaves SIGTERM to the system, so one fault is enough for it.
            if (name === SCENARIOS[0]?.name && index === 0) await restarted.restart('SIGTERM')
            await restarted.restart('graceful')
            await assertAllDeferred(alone)
          } finally {
            await place.end(fault)
          }
          const before = (i: number) => () => ((normal[i] ?? 0) + TICK) * slowness()
          const back = await Promise.all(all.map((one, i) => one.untilNormal(before(i))))
          const took = `as before after ${back.map(Math.round)} ms, others ${restarted.beside()} ms`
          t.diagnostic(took)
          assert.ok(Math.max(...back) < BACK_WITHIN * Math.max(1, restarted.beside() / QUICK), took)
          // From the list on the disk.
          assertFound(listed, 0)
          if (DEAD_AT_START.has(fault)) assertAnswered(failoverFromStart, 0)
          assertAnswered(failover, inFailover + QUERY_TIMEOUT)
          assertFound(cached, inCached)
          for (const one of both) one.assertNothingWrong()
        })
      }
    })
  }
})

const foundBy = ({ load }: Recipients) =>
  new Set(
    load
      .since(0)
      .filter(isFound)
      .map(({ address }) => address),
  )

const isFound = ({ state }: Asked) => state === 'found'
const isAnswered = ({ state }: Asked) => state !== 'unavailable'

/** Whether its last replies are all deferrals. */
function isDeferring({ load }: Recipients): boolean {
  return load
    .since(0)
    .slice(-10)
    .every((one) => !isAnswered(one))
}

async function assertAllDeferred(recipients: Recipients): Promise<void> {
  const states = (await recipients.next()).map(({ state }) => state)
  assert.deepEqual(new Set(states), new Set(['unavailable']))
}

function assertAnswered(recipients: Recipients, since: number): void {
  assertAll(recipients, recipients.load.since(since), isAnswered)
}

/** Asserts that all valid recipients were found. */
function assertFound(recipients: Recipients, since: number): void {
  const valid = recipients.load.since(since).filter(({ isValid }) => isValid)
  assertAll(recipients, valid, isFound)
}

function assertAll({ haraka }: Recipients, asked: Asked[], isRight: (one: Asked) => boolean): void {
  assert.ok(asked.length > 0)
  const wrong = asked.filter((one) => !isRight(one)).slice(0, 3)
  if (wrong.length === 0) return
  const log = haraka.logLines(/\[gal-relay\] (?!refused|deferred)/).slice(-20)
  assert.fail(`${JSON.stringify(wrong, null, 1)}\n${log.join('\n')}`)
}

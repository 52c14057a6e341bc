// Everything that can go wrong with a directory, as senders see it: real Harakas under a steady load of
// RCPTs. No valid recipient is ever refused and no unknown one accepted, every reply comes in time;
// where another server is well, the list is in memory or the answer is known, no valid recipient is
// deferred either; Haraka ends when it is told to and starts whatever the directory does. Recipients
// of a second directory notice nothing of all that.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  BESIDE,
  CACHED,
  type Gateway,
  LIVE,
  median,
  QUERY_TIMEOUT,
  SNAPSHOT,
  startGateways,
} from './faults/gateway'
import { DEAD_AT_START, type Place, SCENARIOS } from './faults/outages'
import { type Asked, VALID } from './gal/load'
import { type Slapd, startSlapd } from './support/slapd'
import { TICK } from './support/stopwatch'
import { until } from './support/until'

/** Milliseconds after the directory's return, where a recipient that is well takes no longer than QUICK. */
const BACK_WITHIN = 5000
const QUICK = 10

/** Whose list is being read: a list is read where mail leaves a processor, and no mail comes in until then. */
const reading = new Set(SCENARIOS.filter(({ skip }) => !skip).map(({ name }) => name))

describe('faults of a directory', { concurrency: SCENARIOS.length }, () => {
  for (const { name, skip, pause, faults, open } of SCENARIOS) {
    describe(name, { skip, concurrency: 1 }, () => {
      let place: Place
      /** The second directory. */
      let other: Slapd
      /** One that has only this directory, also with a cache and with the list in memory, and with a second server. */
      let alone: Gateway
      let cached: Gateway
      let listed: Gateway
      let failover: Gateway
      let all: readonly Gateway[] = []
      let normal: readonly number[]
      /** How much slower recipients are that nothing is wrong with: that is the machine's doing. */
      let slowness: () => number

      before(async () => {
        const options = (gal: string, ...urls: string[]) => ({ ...place, urls, gal, pause })
        try {
          place = await open()
          other = await startSlapd({
            entries: VALID.map((one) => one.replace(/@.*/, `@${BESIDE}`)),
          })
          const ready = /default: the list is in force: 100 recipients/
          const inMemory = options(SNAPSHOT, place.url)
          all = await startGateways([{ ...inMemory, beside: other, ready }])
        } finally {
          reading.delete(name)
        }
        ;[listed] = all as [Gateway]
        const { url, second } = place
        await until(() => reading.size === 0)
        const others = await startGateways([
          { ...options(LIVE, url), beside: other },
          options(CACHED, url),
          options(LIVE, url, second),
        ])
        ;[alone, cached, failover] = others as [Gateway, Gateway, Gateway]
        all = [alone, cached, listed, failover]
        // Now it has the list from the start.
        await listed.restart('graceful')
        // All of them are known to the one that remembers, and all are as fast as they are.
        await until(() => foundBy(cached).size === VALID.length)
        await until(() => all.every(({ load }) => load.since(load.now - 1000).every(isAnswered)))
        normal = all.map(({ load }) => median(load.since(load.now - 1000)))
        const well = listed.beside()
        slowness = () => Math.max(1, (listed.beside() + TICK) / (well + TICK))
      })
      after(async () => {
        await Promise.all(all.map((one) => one.close()))
        await place?.close()
        await other?.stop()
      })

      for (const fault of faults) {
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
            await Promise.all([
              alone.restart('SIGTERM'),
              listed.restart('graceful'),
              DEAD_AT_START.has(fault) && failover.restart('graceful'),
            ])
            await assertAllDeferred(alone)
          } finally {
            await place.end(fault)
          }
          const before = (i: number) => () => ((normal[i] ?? 0) + TICK) * slowness()
          const back = await Promise.all(all.map((one, i) => one.untilNormal(before(i))))
          const took = `as before after ${back.map(Math.round)} ms, others ${listed.beside()} ms`
          t.diagnostic(took)
          assert.ok(Math.max(...back) < BACK_WITHIN * Math.max(1, listed.beside() / QUICK), took)
          // From the list on the disk.
          assertFound(listed, 0)
          assertAnswered(failover, DEAD_AT_START.has(fault) ? 0 : inFailover + QUERY_TIMEOUT)
          assertFound(cached, inCached)
          for (const one of all) one.assertNothingWrong()
        })
      }
    })
  }
})

const foundBy = ({ load }: Gateway) =>
  new Set(
    load
      .since(0)
      .filter(isFound)
      .map(({ address }) => address),
  )

const isFound = ({ state }: Asked) => state === 'found'
const isAnswered = ({ state }: Asked) => state !== 'unavailable'

/** Its last replies. */
function isDeferring({ load }: Gateway): boolean {
  return load
    .since(0)
    .slice(-10)
    .every((one) => !isAnswered(one))
}

async function assertAllDeferred(gateway: Gateway): Promise<void> {
  const states = (await gateway.next()).map(({ state }) => state)
  assert.deepEqual(new Set(states), new Set(['unavailable']))
}

function assertAnswered(gateway: Gateway, since: number): void {
  assertAll(gateway, gateway.load.since(since), isAnswered)
}

/** All valid recipients. */
function assertFound(gateway: Gateway, since: number): void {
  const valid = gateway.load.since(since).filter(({ isValid }) => isValid)
  assertAll(gateway, valid, isFound)
}

function assertAll({ haraka }: Gateway, asked: Asked[], isRight: (one: Asked) => boolean): void {
  assert.ok(asked.length > 0)
  const wrong = asked.filter((one) => !isRight(one)).slice(0, 3)
  if (wrong.length === 0) return
  const log = haraka.logLines(/\[gal-relay\] (?!refused|deferred)/).slice(-20)
  assert.fail(`${JSON.stringify(wrong, null, 1)}\n${log.join('\n')}`)
}

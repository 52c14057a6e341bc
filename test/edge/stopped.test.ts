// A publisher that has stopped: the gateway goes on from what it has, and for no longer than it may.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ABSENT,
  DEFERRED,
  type Edge,
  FOUND,
  type Publisher,
  startEdge,
  startPublisher,
  stopEdge,
} from '../support/edge'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'

const KNOWN = 'known1@example.com'
const NOBODY = 'nobody@example.com'
/** Milliseconds. */
const CHANGES_EVERY = 2000
const USABLE_FOR = 20_000

describe('after the publisher has stopped', {
  skip: skipWithout('slapd', 'slapadd', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let publisher: Publisher
  let edge: Edge
  before(async () => {
    slapd = await startSlapd({ entries: [KNOWN] })
    redis = await startRedis()
    const changesEvery = `${CHANGES_EVERY}ms`
    const ini = `usable_for = ${USABLE_FOR}ms\n[redis]\nurl = ${redis.url}`
    edge = await startEdge({ ini, changesEvery })
    publisher = await startPublisher({ slapd, to: redis.url, changesEvery })
    await edge.answers(KNOWN, FOUND)
    await edge.answers(NOBODY, ABSENT)
  })
  after(async () => {
    await stopEdge(edge)
    await publisher?.stop()
    await redis?.stop()
    await slapd?.stop()
  })

  test('unknown is deferred within 2 × changes_every, and found stays so up to usable_for', async () => {
    await publisher.end('SIGKILL')
    const stopped = performance.now()
    const until = (moment: number) => sleep(stopped + moment + 100 - performance.now())
    await until(2 * CHANGES_EVERY)
    assert.deepEqual(await edge.ask(NOBODY), [DEFERRED])
    // On any machine on which that took less than ten seconds.
    if (performance.now() - stopped < USABLE_FOR / 2) {
      assert.deepEqual(await edge.ask(KNOWN), [FOUND])
    }
    await until(USABLE_FOR)
    assert.deepEqual(await edge.ask(KNOWN, NOBODY), [DEFERRED, DEFERRED])
  })
})

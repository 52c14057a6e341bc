// Who is held off, by a real Redis: a network that was let go stays so, whatever was found out before it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  clientFor,
  endClient,
  type RedisClient,
  RedisLink,
} from '../../plugins/gal-relay/fleet/redis'
import { type Hold, type HoldEvent, Holds } from '../../plugins/gal-relay/harvest/holds'
import {
  addHoldEvent,
  readHoldEvents,
  type SharedHolds,
  shareHolds,
} from '../../plugins/gal-relay/harvest/shared-holds'
import { parseRedisUrl, type RedisServer as Url } from '../../plugins/gal-relay/settings/redis-url'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { until } from '../support/until'

const HOLD_OFF = 1_800_000
const PREFIX = 'test:'
const NOBODY = { debug() {}, info() {}, notice() {}, warn() {}, error() {} }

const holdOf = (network: string): Hold => ({
  ...{ network, observed: false, since: Date.now(), until: Date.now() + HOLD_OFF },
  ...{ unknown: 30, all: 30, server: 'mx1.test' },
})

describe('a network that is let go', { skip: skipWithout('redis-server') }, () => {
  let redis: RedisServer
  let links: RedisLink[]
  let shared: SharedHolds[]
  /** Of the gal-relay command. */
  let client: RedisClient
  const servers = [new Holds(), new Holds()] as const
  before(async () => {
    redis = await startRedis()
    const url = [parseRedisUrl(redis.url) as Url]
    const settings = { url, password_file: '', tls_ca: '', prefix: PREFIX }
    links = servers.map(() => new RedisLink(settings, NOBODY))
    shared = servers.map((holds, n) =>
      shareHolds(links[n] as RedisLink, HOLD_OFF, async ({ event, at }) => holds.take(event, at)),
    )
    client = await clientFor(settings, () => {})
    await client.connect()
    await until(() => links.every((link) => link.isUp))
  })
  after(async () => {
    for (const one of shared) one.close()
    for (const link of links) link.close()
    endClient(client)
    await redis.stop()
  })

  const found = (hold: Hold) => {
    servers[0].put(hold)
    shared[0]?.tell({ event: 'hold', hold })
  }
  const release = (network: string) => addHoldEvent(client, PREFIX, { event: 'release', network })
  /** As the servers have it, and the gal-relay command. */
  async function heldBy(network: string): Promise<boolean[]> {
    const seen = new Holds()
    const events = await readHoldEvents(client, PREFIX, Date.now() - HOLD_OFF)
    for (const { event, at } of events) seen.take(event, at)
    return [...servers, seen].map((holds) => holds.find(network, Date.now()) !== undefined)
  }
  async function isToldLate(network: string): Promise<boolean> {
    let events: HoldEvent[] = []
    await until(async () => {
      const all = await readHoldEvents(client, PREFIX, Date.now() - HOLD_OFF)
      events = all.map(({ event }) => event)
      return events.some((event) => event.event === 'hold' && event.hold.network === network)
    })
    const ofNetwork = events.find(
      (event) => (event.event === 'hold' ? event.hold.network : event.network) === network,
    )
    return ofNetwork?.event === 'release'
  }
  const untilHeld = (network: string) =>
    until(async () => (await heldBy(network)).every((isHeld) => isHeld))

  test('stays so when another server tells later what it had found out before', async () => {
    let host = 100
    let network: string
    do {
      network = `203.0.113.${host++}`
      // It is told within a second: behind the release, unless that second ends right now.
      found(holdOf(network))
      await release(network)
    } while (!(await isToldLate(network)))
    // What comes behind it has been read as well.
    found(holdOf('203.0.113.10'))
    await untilHeld('203.0.113.10')
    assert.deepEqual(await heldBy(network), [false, false, false])
  })

  test('is held off again for what it does after that', async () => {
    found(holdOf('203.0.113.9'))
    await untilHeld('203.0.113.9')
    await release('203.0.113.9')
    await until(async () => (await heldBy('203.0.113.9')).every((isHeld) => !isHeld))
  })
})

// Redis, the publisher and the directory fail while a gateway receives its list. It goes on accepting the
// recipients it knows, it refuses nobody who may have been added since, and it recovers by itself.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
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
import { memoryOf } from '../support/processes'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

const PEOPLE = Array.from({ length: 50 }, (_, n) => `known${n}@example.com`)
const KNOWN = 'known1@example.com'
const NOBODY = 'nobody@example.com'
const urlOf = ({ port }: TcpProxy) => `redis://127.0.0.1:${port}`

describe('while a list is received', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  /** Proxies before Redis, for the gateway and for the publisher. */
  let outside: TcpProxy
  let inside: TcpProxy
  let publisher: Publisher
  let edge: Edge
  let count = 0
  /** The replies to a known recipient that is asked about all the time. */
  const replies = new Set<string>()
  let beside: NodeJS.Timeout
  before(async () => {
    slapd = await startSlapd({ entries: PEOPLE })
    redis = await startRedis({ conf: ['enable-debug-command local'] })
    outside = await startTcpProxy(redis.port)
    inside = await startTcpProxy(redis.port)
    edge = await startEdge({ ini: `[redis]\nurl = ${urlOf(outside)}`, nodes: 2 })
    publisher = await startPublisher({ slapd, to: urlOf(inside) })
    await edge.answers(KNOWN, FOUND)
    // Both workers have the list.
    await until(async () => {
      const replies = await Promise.all(Array.from({ length: 12 }, () => edge.ask(KNOWN, NOBODY)))
      return replies.every(([known, unknown]) => known === FOUND && unknown === ABSENT)
    })
    beside = setInterval(() => {
      edge.ask(KNOWN).then(
        ([reply = '']) => replies.add(reply),
        () => {},
      )
    }, 250)
  })
  beforeEach(() => replies.clear())
  after(async () => {
    clearInterval(beside)
    await stopEdge(edge)
    await publisher?.stop()
    await outside?.stop()
    await inside?.stop()
    await redis?.stop()
    await slapd?.stop()
  })

  async function isStillAccepted(): Promise<void> {
    await until(() => replies.size > 0)
    assert.deepEqual([...replies], [FOUND])
  }

  /** A recipient that is added is accepted, and refused once it is deleted. */
  async function followed(): Promise<void> {
    const one = `new${count++}@example.com`
    await slapd.add(one)
    await edge.answers(one, FOUND)
    await slapd.delete(slapd.dnOf(one))
    await edge.answers(one, ABSENT)
    await isStillAccepted()
  }

  test('Redis is restarted, and empty: the list is published again', async () => {
    const from = publisher.output().length
    await redis.restart()
    await publisher.waitForLine(/the list default is published to/, 20_000, from)
    await followed()
  })

  test('Redis loses a part, the changes, or everything', async () => {
    await redis.run('DEL', 'gal-relay:list:default:number')
    for (const what of [':0', ':changes', ':lists', '']) {
      const from = publisher.output().length
      const keys = (await redis.run('KEYS', `gal-relay:list:default*${what}`)).split('\n')
      await redis.run('DEL', ...keys)
      await publisher.waitForLine(/the list default is published to/, 20_000, from)
      await followed()
    }
    const lists = (await redis.run('KEYS', 'gal-relay:list:default:*:changes')).split('\n')
    assert.ok(lists.length < 8, lists.join())
  })

  test('connections are killed', async () => {
    for (let n = 0; n < 3; n++) {
      await redis.run('CLIENT', 'KILL', 'TYPE', 'normal')
      await followed()
    }
  })

  test('Redis is read-only, or full', async () => {
    await redis.run('REPLICAOF', '127.0.0.1', '1')
    await slapd.add('meanwhile1@example.com')
    await edge.answers(NOBODY, DEFERRED)
    await redis.run('REPLICAOF', 'NO', 'ONE')
    await edge.answers('meanwhile1@example.com', FOUND)
    await followed()
    await redis.run('CONFIG', 'SET', 'maxmemory', '1')
    await slapd.add('meanwhile2@example.com')
    await edge.answers(NOBODY, DEFERRED)
    await redis.run('CONFIG', 'SET', 'maxmemory', '0')
    await edge.answers('meanwhile2@example.com', FOUND)
    await followed()
  })

  test('Redis stalls, for a moment and for longer', async () => {
    assert.equal(await redis.run('DEBUG', 'SLEEP', '1'), 'OK')
    await followed()
    redis.pause()
    await edge.answers(NOBODY, DEFERRED)
    redis.resume()
    await followed()
  })

  test('the network fails, before the gateway and before the publisher', async () => {
    for (const network of [outside, inside]) {
      for (const kind of ['hang', 'reset'] as const) {
        network.behave({ kind })
        await edge.answers(NOBODY, DEFERRED)
        network.behave({ kind: 'pass' })
        network.drop('reset')
        await followed()
      }
    }
  })

  test('the publisher is stopped, and started again', async () => {
    await publisher.stop()
    await edge.answers(NOBODY, DEFERRED)
    assert.deepEqual(
      await edge.ask(...PEOPLE),
      PEOPLE.map(() => FOUND),
    )
    publisher = await startPublisher({ slapd, to: urlOf(inside) })
    await followed()
  })

  test('somebody else writes to Redis: it is refused, and repaired', async () => {
    const key = 'gal-relay:list:default:'
    const [number] = (await redis.run('XREVRANGE', `${key}lists`, '+', '-')).split('-')
    await redis.run('XADD', `${key}${number}:changes`, '*', 'change', 'forged')
    await edge.waitForLog(/is refused, and the one in force is kept: a piece is cut off/)
    await followed()
    await redis.run('XADD', `${key}lists`, '18446744073709551615-1', 'head', 'forged')
    await followed()
    await redis.run('SET', `${key}number`, 'forged')
    const from = publisher.output().length
    await redis.run('DEL', `${key}lists`)
    await publisher.waitForLine(/the list default is published to/, 20_000, from)
    await followed()
  })

  test('none of that leaks memory', async () => {
    const first = memoryOf(edge.pid)
    for (let n = 0; n < 5; n++) {
      const keys = (await redis.run('KEYS', 'gal-relay:list:default*')).split('\n')
      const from = publisher.output().length
      await redis.run('DEL', ...keys)
      await publisher.waitForLine(/the list default is published to/, 20_000, from)
    }
    await followed()
    const more = memoryOf(edge.pid) - first
    assert.ok(more < 100, `${more} MB more`)
  })

  test('the directory is down', async () => {
    await slapd.stop()
    await edge.answers(NOBODY, DEFERRED)
    await isStillAccepted()
  })
})

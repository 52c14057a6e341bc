// Whatever the order in which lists are read, changed and published, publishers take over from each other and
// go on all the same, Redis loses what it held, and gateways are restarted: in the end each gateway has the
// directory's list, or says that its own is not current.
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { clientFor, endClient, type RedisClient } from '../../plugins/gal-relay/fleet/redis'
import { RedisSink } from '../../plugins/gal-relay/fleet/redis-carrier'
import type { Publisher } from '../../plugins/gal-relay/gal/snapshot/publisher'
import type { RedisSettings } from '../../plugins/gal-relay/settings/redis'
import { parseRedisUrl, type RedisServer as Url } from '../../plugins/gal-relay/settings/redis-url'
import { skipWithout } from '../support/programs'
import {
  channelBy,
  type Folder,
  type Gateway,
  KeptFile,
  listFolder,
  publisherOf,
  startGateway,
} from '../support/published-list'
import { type RedisServer, startRedis } from '../support/redis-server'
import { until } from '../support/until'

const CHANGES_EVERY = 400
const PUBLISHERS = 2
const GATEWAYS = 2

const person = fc.integer({ min: 0, max: 7 }).map((n) => `user${n}@corp.test`)
const publisher = fc.integer({ min: 0, max: PUBLISHERS - 1 })
const gateway = fc.integer({ min: 0, max: GATEWAYS - 1 })

type Step =
  | readonly ['add' | 'remove', string]
  | readonly ['read' | 'publish' | 'take over', number]
  | readonly ['restart', number]
  | readonly ['flush' | 'disconnect' | 'wait']

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom('add', 'remove'), person) },
  { weight: 6, arbitrary: fc.tuple(fc.constantFrom('read', 'publish', 'take over'), publisher) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('restart'), gateway) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('flush', 'disconnect', 'wait')) },
) as fc.Arbitrary<Step>

/** One that reads and publishes, whether it is its turn or not. */
interface Inside {
  readonly token: string
  readonly kept: KeptFile
  readonly publisher: Publisher
  hasRead: boolean
}

describe('publishers and gateways', { skip: skipWithout('redis-server') }, () => {
  let redis: RedisServer
  let settings: RedisSettings
  let client: RedisClient
  let run = 0
  before(async () => {
    redis = await startRedis()
    const url = [parseRedisUrl(redis.url) as Url]
    settings = { url, password_file: '', tls_ca: '', prefix: 'test:' }
    client = await clientFor(settings, () => {})
    await client.connect()
  })
  after(async () => {
    endClient(client)
    await redis.stop()
  })

  async function play(steps: readonly Step[], endsWell: boolean): Promise<void> {
    const folder = listFolder()
    const list = `list${run++}`
    const directory = new Set(['user0@corp.test'])
    const inside = Array.from({ length: PUBLISHERS }, (_, n): Inside => {
      const kept = new KeptFile(path.join(folder.folder, `inside${n}`))
      const token = `token${n}`
      const sink = new RedisSink(client, settings.prefix, list, token)
      const published = publisherOf(kept.file, sink, folder.key(), list)
      return { token, kept, publisher: published, hasRead: false }
    })
    const gateways: Gateway[] = await Promise.all(
      Array.from({ length: GATEWAYS }, (_, n) => open(folder, list, n)),
    )
    const take = (one: Inside) => client.set(`${settings.prefix}list:${list}:lock`, one.token)
    /** Those that have read the directory hear of its changes, whoever's turn it is. */
    const changed = async (added: string[], removed: string[]) => {
      for (const { kept, hasRead } of inside) if (hasRead) await kept.change(added, removed)
    }
    const read = async (one: Inside) => {
      await one.kept.read(directory)
      one.hasRead = true
    }
    const publish = (one: Inside) => one.publisher.step().catch(() => one.publisher.close())
    try {
      for (const [what, which] of steps) {
        if (what === 'add') {
          directory.add(which)
          await changed([which], [])
        } else if (what === 'remove') {
          directory.delete(which)
          await changed([], [which])
        } else if (what === 'flush') await client.flushAll()
        else if (what === 'disconnect') await redis.run('CLIENT', 'KILL', 'TYPE', 'normal')
        else if (what === 'wait') await sleep(50)
        else if (what === 'restart') {
          await gateways[which]?.stop()
          gateways[which] = await open(folder, list, which)
        } else {
          const one = inside[which as number] as Inside
          if (what === 'take over') await take(one)
          else await (what === 'read' ? read(one) : publish(one))
        }
        await until(() => client.isReady)
      }
      const [last] = inside
      assert.ok(last)
      if (endsWell) {
        await take(last)
        await read(last)
      }
      const isRight = (one: Gateway) =>
        one.count === directory.size && [...directory].every((address) => one.has(address))
      const told = () =>
        gateways
          .map((one) => `${one.count} ${one.isCurrent} ${one.log.lines.join('\n')}`)
          .join('\n')
      const confirmed = async () => {
        if (!endsWell) return
        await last.kept.change([])
        await publish(last)
      }
      await until(
        async () => {
          await confirmed()
          await sleep(20)
          return gateways.every((one) =>
            endsWell ? one.isCurrent && isRight(one) : !one.isCurrent,
          )
        },
        told,
        30_000,
      )
      for (const { log } of gateways) {
        const numbers = log.lines.flatMap((line) => /number (\d+), published/.exec(line)?.[1] ?? [])
        assert.deepEqual(numbers, [...numbers].sort(), 'a list from before was put in force')
      }
    } finally {
      await Promise.all(gateways.map((one) => one.stop()))
      for (const { publisher: one, kept } of inside) {
        await one.close()
        await kept.close()
      }
      folder.remove()
    }
  }

  const open = (folder: Folder, list: string, n: number) => {
    const channel = channelBy({ redis: settings }, folder.key(), 'receive', list)
    return startGateway(path.join(folder.folder, `gateway${n}`), channel, CHANGES_EVERY)
  }

  test('end with the list of the directory, or say that it is not current', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), fc.boolean(), play),
      { numRuns: 25, endOnFailure: true },
    )
  })
})

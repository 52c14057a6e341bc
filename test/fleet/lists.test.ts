// A list through Redis, where that is named by Sentinels, and what it leaves there.
import assert from 'node:assert/strict'
import path from 'node:path'
import { describe, test } from 'node:test'
import { clientFor, endClient } from '../../plugins/gal-relay/fleet/redis'
import { RedisSink } from '../../plugins/gal-relay/fleet/redis-carrier'
import { RedisLock } from '../../plugins/gal-relay/fleet/redis-lock'
import type { RedisSettings } from '../../plugins/gal-relay/settings/redis'
import { parseRedisUrl, type RedisServer as Url } from '../../plugins/gal-relay/settings/redis-url'
import { skipWithout } from '../support/programs'
import {
  channelBy,
  KeptFile,
  listFolder,
  publisherOf,
  startGateway,
} from '../support/published-list'
import { startRedis } from '../support/redis-server'
import { until } from '../support/until'

describe('a list in Redis', { skip: skipWithout('redis-server') }, () => {
  const settingsFor = (urls: readonly string[]): RedisSettings => {
    const url = urls.map((text) => parseRedisUrl(text) as Url)
    return { url, password_file: '', tls_ca: '', prefix: 'test:' }
  }

  test('goes where Sentinels say, and takes no more than itself and the one before', async () => {
    const redis = await startRedis()
    const conf = [`sentinel monitor fleet 127.0.0.1 ${redis.port} 1`]
    const sentinels = await Promise.all([1, 2].map(() => startRedis({ conf, isSentinel: true })))
    const settings = settingsFor(sentinels.map(({ url }) => `${url}/fleet`))
    const folder = listFolder()
    const client = await clientFor(settings, () => {})
    const kept = new KeptFile(path.join(folder.folder, 'kept'))
    const channel = channelBy({ redis: settings }, folder.key(), 'receive')
    const gateway = await startGateway(path.join(folder.folder, 'own'), channel)
    try {
      await client.connect()
      const lock = new RedisLock(settings.prefix, 'default')
      assert.equal(await lock.take(client), true)
      const sink = new RedisSink(client, settings.prefix, 'default', lock.token)
      const publisher = publisherOf(kept.file, sink, folder.key())
      for (let n = 0; n < 5; n++) {
        await kept.read([`user${n}@corp.test`])
        await publisher.step()
        await until(() => gateway.has(`user${n}@corp.test`))
        await kept.change([`more${n}@corp.test`])
        await publisher.step()
        await until(() => gateway.has(`more${n}@corp.test`))
      }
      assert.equal(gateway.count, 2)
      const keys = (await redis.run('KEYS', 'test:*')).split('\n')
      const lives = await Promise.all(keys.map((key) => redis.run('PTTL', key)))
      const lasting = keys
        .filter((_, index) => lives[index] === '-1')
        .map((key) => key.split(':')[4])
      // Its number and head, its one part and its changes.
      assert.equal(lasting.length, 4, keys.join())
      assert.equal(await redis.run('XLEN', 'test:list:default:lists'), '1')
      await publisher.close()
      // Who has not the lock writes nothing.
      const other = new RedisSink(client, settings.prefix, 'default', 'another')
      await assert.rejects(other.nextNumber(), /another server publishes the list now/)
      await lock.release(client)
      assert.equal(await redis.run('EXISTS', 'test:list:default:lock'), '0')
    } finally {
      endClient(client)
      await gateway.stop()
      await kept.close()
      folder.remove()
      await Promise.all([redis, ...sentinels].map((one) => one.stop()))
    }
  })
})

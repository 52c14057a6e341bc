// A gateway that is restarted goes on with the list on its disk, where that is the published one: it takes what
// has changed since, and else the whole list.
import assert from 'node:assert/strict'
import { appendFileSync, copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { clientFor, endClient, type RedisClient } from '../../plugins/gal-relay/fleet/redis'
import { RedisSink } from '../../plugins/gal-relay/fleet/redis-carrier'
import type { Publisher } from '../../plugins/gal-relay/gal/snapshot/publisher'
import { markFileOf } from '../../plugins/gal-relay/gal/snapshot/received-mark'
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

describe('a gateway that is restarted', { skip: skipWithout('redis-server') }, () => {
  let redis: RedisServer
  let folder: Folder
  let client: RedisClient
  let kept: KeptFile
  let publisher: Publisher
  let gateway: Gateway
  let count = 0
  let restart: () => Promise<void>
  before(async () => {
    redis = await startRedis()
    folder = listFolder()
    const url = [parseRedisUrl(redis.url) as Url]
    const settings = { url, password_file: '', tls_ca: '', prefix: 'test:' }
    client = await clientFor(settings, () => {})
    await client.connect()
    await client.set('test:list:default:lock', 'me')
    kept = new KeptFile(path.join(folder.folder, 'kept'))
    const sink = new RedisSink(client, settings.prefix, 'default', 'me')
    publisher = publisherOf(kept.file, sink, folder.key())
    await kept.read(['user0@corp.test'])
    await publisher.step()
    const channel = channelBy({ redis: settings }, folder.key(), 'receive')
    restart = async () => {
      gateway = await startGateway(path.join(folder.folder, 'own'), channel)
    }
    await restart()
    await until(() => gateway.isCurrent)
  })
  after(async () => {
    await gateway?.stop()
    await publisher?.close()
    await kept?.close()
    endClient(client)
    await redis?.stop()
    folder.remove()
  })

  async function change(): Promise<string> {
    const one = `more${count++}@corp.test`
    await kept.change([one])
    await publisher.step()
    return one
  }

  /** @returns whether it has taken the whole list after what happened while it was down */
  async function restarted(meanwhile: () => unknown = () => {}): Promise<boolean> {
    const before = await change()
    await until(() => gateway.has(before))
    await gateway.stop()
    await meanwhile()
    const since = await change()
    await restart()
    await until(() => gateway.has(since))
    await until(() => gateway.isCurrent)
    assert.equal(gateway.count, kept.people.size)
    for (const one of kept.people) assert.ok(gateway.has(one), one)
    // It follows.
    const next = await change()
    await until(() => gateway.has(next))
    assert.deepEqual(
      gateway.log.lines.filter((line) => /^(error|warn)/.test(line)),
      [],
    )
    const [line] = gateway.log.lines.filter((one) => one.includes('the list is in force: '))
    assert.match(line ?? '', /as it was on the disk$|\d+ recipients, list default number/)
    return /recipients/.test(line ?? '')
  }
  const own = () => gateway.file

  test('takes the changes alone, and goes on with its file', async () => {
    const { ino } = statSync(own())
    for (let n = 0; n < 3; n++) assert.equal(await restarted(), false)
    assert.equal(statSync(own()).ino, ino)
  })

  test('does so when it was killed between a change and its mark', async () => {
    const mark = markFileOf(own())
    const text = readFileSync(mark)
    assert.equal(await restarted(() => writeFileSync(mark, text)), false)
  })

  const wholeAfter: readonly (readonly [string, () => unknown])[] = [
    ['another list has been published', () => kept.read([...kept.people])],
    ['the last change was not written to its end', () => appendFileSync(own(), 'cut off')],
    [
      'it was killed before the mark named the file',
      () => {
        const { file: _, ...mark } = JSON.parse(readFileSync(markFileOf(own()), 'utf8'))
        writeFileSync(markFileOf(own()), JSON.stringify(mark))
      },
    ],
    ['its file is another list’s', () => copyFileSync(path.join(folder.folder, 'former'), own())],
    [
      'its file is damaged',
      () => {
        const bytes = readFileSync(own())
        bytes[150] = (bytes[150] ?? 0) ^ 1
        writeFileSync(own(), bytes)
      },
    ],
  ]
  for (const [what, meanwhile] of wholeAfter) {
    test(`takes the whole list where ${what}`, async () => {
      if (count === 0) await change()
      copyFileSync(own(), path.join(folder.folder, 'now'))
      assert.equal(await restarted(meanwhile), true)
      copyFileSync(path.join(folder.folder, 'now'), path.join(folder.folder, 'former'))
    })
  }
})

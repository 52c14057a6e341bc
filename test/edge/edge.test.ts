// `gal-relay publish` inside, and gateways with `mode = received` that know no directory: by Redis and by a
// file.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
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

const PEOPLE = Array.from({ length: 50 }, (_, n) => `known${n}@example.com`)

for (const by of ['Redis', 'a file'] as const) {
  describe(`a list that is received by ${by}`, {
    skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server'),
  }, () => {
    let slapd: Slapd
    let redis: RedisServer
    let publisher: Publisher
    let edge: Edge
    const folder = mkdtempSync(path.join(tmpdir(), 'lists-'))
    const file = path.join(folder, 'gal.list')
    const to = () => (by === 'Redis' ? redis.url : file)
    const from = () => (by === 'Redis' ? `[redis]\nurl = ${redis.url}` : `received_from = ${file}`)
    before(async () => {
      slapd = await startSlapd({ entries: PEOPLE })
      redis = await startRedis()
      edge = await startEdge({ ini: from() })
    })
    after(async () => {
      await stopEdge(edge)
      await publisher?.stop()
      await redis?.stop()
      await slapd?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    test('before there is one, nobody is refused', async () => {
      assert.deepEqual(await edge.ask('known1@example.com', 'nobody@example.com'), [
        DEFERRED,
        DEFERRED,
      ])
      await edge.waitForLog(/no list default has been published/)
    })

    test('is in force when it has been published, and so are its changes', async () => {
      publisher = await startPublisher({ slapd, to: to() })
      await edge.answers('known1@example.com', FOUND)
      await edge.answers('nobody@example.com', ABSENT)
      await slapd.add('new@example.com')
      await edge.answers('new@example.com', FOUND, 5000)
      await slapd.delete(slapd.dnOf('new@example.com'))
      await edge.answers('new@example.com', ABSENT, 5000)
      assert.deepEqual(
        await edge.ask(...PEOPLE),
        PEOPLE.map(() => FOUND),
      )
    })

    test('leaves nothing on the disk of the gateway from which an address could be read', () => {
      const own = [edge.dir, path.dirname(edge.key.file)]
      const files = own.flatMap((dir) =>
        readdirSync(dir, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => path.join(entry.parentPath, entry.name)),
      )
      assert.ok(files.some((one) => one.endsWith('gal_relay.snapshot')))
      for (const one of files) {
        const text = readFileSync(one, 'latin1')
        assert.doesNotMatch(text, /known\d|@example\.com/, one)
        // It knows no directory, and no account there.
        assert.ok(!text.includes(slapd.url) && !text.includes(slapd.password), one)
      }
    })

    test('answers after a restart of the gateway alone, from its own file', async () => {
      await redis.stop()
      await publisher.stop()
      await edge.restart()
      assert.deepEqual(await edge.ask('known1@example.com', 'nobody@example.com'), [
        FOUND,
        DEFERRED,
      ])
    })
  })
}

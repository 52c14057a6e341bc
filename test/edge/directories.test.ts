// Lists of several directories go each under its own name, and where mail goes comes with them.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommandAfterFirst } from '../support/command'
import {
  ABSENT,
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

const { runJson } = loadCommandAfterFirst()

interface Explained {
  readonly recipients: readonly {
    readonly code: number
    readonly directory: string
    readonly next_hops: readonly string[]
    readonly delivered_as: string
  }[]
}

describe('several lists, and where mail goes', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server'),
}, () => {
  let slapd: Slapd
  let beta: Slapd
  let redis: RedisServer
  const publishers: Publisher[] = []
  const folder = mkdtempSync(path.join(tmpdir(), 'lists-'))
  before(async () => {
    const entry = (name: string, more: object) => ({
      dn: `cn=${name},dc=corp,dc=test`,
      mail: `${name}@example.com`,
      ...more,
    })
    slapd = await startSlapd({
      entries: [
        entry('ann', { mailHost: 'ex01' }),
        entry('bob', { mailHost: 'ex01', mailRoutingAddress: 'bob@inside.test' }),
        entry('eve', {}),
      ],
    })
    beta = await startSlapd({ entries: ['bea@beta.example'] })
    redis = await startRedis()
  })
  after(async () => {
    for (const publisher of publishers) await publisher.stop()
    for (const one of [redis, slapd, beta]) await one?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const by of ['Redis', 'files'] as const) {
    test(`by ${by}`, async () => {
      const file = path.join(folder, 'gal.list')
      const ini = `[gal]
host_attribute = mailHost
routing_attribute = mailRoutingAddress
[directory beta]
domains[] = beta.example
url[] = ${beta.url}
base = ${beta.base}
`
      const to = by === 'Redis' ? redis.url : file
      publishers.push(await startPublisher({ slapd, to, ini }))
      const from = by === 'Redis' ? `[redis]\nurl = ${redis.url}` : `received_from = ${file}`
      const edge: Edge = await startEdge({
        ini: `${from}
[routes]
beta.example = inbound
[hosts]
ex01 = smtp://127.0.0.2:2525
[directory beta]
domains[] = beta.example
`,
      })
      try {
        await edge.answers('ann@example.com', FOUND)
        await edge.answers('bea@beta.example', FOUND)
        await edge.answers('nobody@example.com', ABSENT)
        await edge.answers('ann@beta.example', ABSENT)
        const people = ['ann@example.com', 'bob@example.com', 'eve@example.com', 'bea@beta.example']
        const { json } = await runJson<Explained>(['explain', ...people, '-c', edge.dir])
        assert.deepEqual(
          json.recipients.map((one) => [one.directory, one.next_hops.join(), one.delivered_as]),
          [
            ['default', 'smtp://127.0.0.2:2525', 'ann@example.com'],
            ['default', 'smtp://127.0.0.2:2525', 'bob@inside.test'],
            ['default', '', 'eve@example.com'],
            ['beta', '', 'bea@beta.example'],
          ],
        )
        await slapd.modify('cn=eve,dc=corp,dc=test', { mailRoutingAddress: `eve@${by}.test` })
        await edge.answers('eve@example.com', FOUND)
        for (let last = ''; last !== `eve@${by}.test`.toLowerCase(); ) {
          const after = await runJson<Explained>(['explain', 'eve@example.com', '-c', edge.dir])
          last = (after.json.recipients[0]?.delivered_as ?? '').toLowerCase()
        }
        await slapd.modify('cn=eve,dc=corp,dc=test', { mailRoutingAddress: [] })
      } finally {
        await stopEdge(edge)
      }
    })
  }
})

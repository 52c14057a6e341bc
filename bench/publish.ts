// A list published to gateways through Redis: `npm run bench -- publish`. Measures the time from a
// change in the directory until the last of ten gateways uses it; until the last one has a list of
// a million recipients, and how long their event loops block meanwhile; and until a single
// restarted gateway answers.
import { mkdtempSync } from 'node:fs'
import path from 'node:path'
import { clientFor, endClient } from '../plugins/gal-relay/fleet/redis'
import { RedisSink } from '../plugins/gal-relay/fleet/redis-carrier'
import { parseRedisUrl, type RedisServer as Url } from '../plugins/gal-relay/settings/redis-url'
import { type Edge, FOUND, startEdge, startPublisher, stopEdge } from '../test/support/edge'
import { listFolder, publisherOf } from '../test/support/published-list'
import { type RedisServer, startRedis } from '../test/support/redis-server'
import { startSlapd } from '../test/support/slapd'
import { localPart, writeList } from './memory'
import type { Sizes } from './sizes'
import { longestStall, STALL_PLUGIN } from './stall'
import { table } from './table'

const CHANGES = 10
const PEOPLE = Array.from({ length: 1000 }, (_, n) => `known${n}@example.com`)
const WAIT = 120_000

export async function publish({ gateways, large }: Sizes): Promise<void> {
  const redis = await startRedis()
  const edges: Edge[] = []
  try {
    for (let n = 0; n < gateways; n++) {
      const ini = `[routes]\ncorp.example = inbound\n[redis]\nurl = ${redis.url}`
      const files = { 'plugins/bench-stall.js': STALL_PLUGIN }
      const plugins = ['bench-stall', 'gal-relay']
      edges.push(await startEdge({ ini, files, plugins, changesEvery: '30s' }))
    }
    const rows = [await ofAChange(redis, edges), await ofALargeList(redis, edges, large)]
    rows.push(await afterARestart(redis, edges[0] as Edge))
    table(['', 'median s', 'longest s', 'stall ms', 'own ms', 'ran ms'], rows)
  } finally {
    await Promise.all(edges.map(stopEdge))
    await redis.stop()
  }
}

const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2)

async function ofAChange(redis: RedisServer, edges: readonly Edge[]): Promise<string[]> {
  const slapd = await startSlapd({ entries: PEOPLE })
  const publisher = await startPublisher({ slapd, to: redis.url, changesEvery: '30s' })
  try {
    await Promise.all(edges.map((edge) => edge.answers(PEOPLE[0] ?? '', FOUND)))
    for (const edge of edges) edge.forgetLog()
    const took: number[] = []
    for (let n = 0; n < CHANGES; n++) {
      const begin = performance.now()
      await slapd.add(`new${n}@example.com`)
      await Promise.all(edges.map((edge) => edge.answers(`new${n}@example.com`, FOUND)))
      took.push(performance.now() - begin)
    }
    const sorted = took.sort((a, b) => a - b)
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0
    return ['a change', seconds(median), seconds(sorted.at(-1) ?? 0), ...stalls(edges)]
  } finally {
    await publisher.stop()
    await slapd.stop()
  }
}

async function ofALargeList(
  redis: RedisServer,
  edges: readonly Edge[],
  large: number,
): Promise<string[]> {
  const folder = listFolder()
  const url = [parseRedisUrl(redis.url) as Url]
  const settings = { url, password_file: '', tls_ca: '', prefix: 'gal-relay:' }
  const client = await clientFor(settings, () => {})
  try {
    await client.connect()
    await client.set(`${settings.prefix}list:default:lock`, 'bench')
    const file = path.join(mkdtempSync(path.join(folder.folder, 'list-')), 'list')
    await writeList(file, large)
    const sink = new RedisSink(client, settings.prefix, 'default', 'bench')
    const publisher = publisherOf(file, sink, edges[0]?.key.file ?? '')
    for (const edge of edges) edge.forgetLog()
    const begin = performance.now()
    const line = new RegExp(`snapshot: ${large} recipients`)
    const taken = edges.map(async (edge) => {
      await edge.waitForLog(line, WAIT)
      return performance.now() - begin
    })
    await publisher.step()
    const took = (await Promise.all(taken)).sort((a, b) => a - b)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await publisher.close()
    const name = `${large.toLocaleString('en')} recipients`
    const median = took[Math.floor(took.length / 2)] ?? 0
    return [name, seconds(median), seconds(took.at(-1) ?? 0), ...stalls(edges)]
  } finally {
    endClient(client)
    folder.remove()
  }
}

/** The time from listening to answering, with Redis and the publisher down. */
async function afterARestart(redis: RedisServer, edge: Edge): Promise<string[]> {
  await redis.kill()
  await edge.restart()
  const begin = performance.now()
  const [reply] = await edge.ask(`${localPart(1)}@corp.example`)
  const took = performance.now() - begin
  return [`restarted alone: ${reply}`, seconds(took), seconds(took), ...stalls([edge])]
}

/** The longest stall on any gateway. */
function stalls(edges: readonly Edge[]): string[] {
  const found = edges.map((edge) => longestStall(edge.log()))
  const most = (column: 0 | 1 | 2) => Math.max(...found.map((one) => one[column])).toFixed(1)
  return [most(0), most(1), most(2)]
}

// Harvest defence: `npm run bench -- harvest`. First measures what counting costs per recipient, compared
// with a server that does not count, with remembered answers: a few recipients are unknown, then half, and
// no client is held off. Then comes a dictionary run: 20,000 made-up names from one network against three
// servers, with and without Redis, and a thousand valid senders at the same time.
import { type Haraka, startHaraka } from '../test/support/haraka'
import { findProgram } from '../test/support/programs'
import { type RedisServer, startRedis } from '../test/support/redis-server'
import { connectSmtp } from '../test/support/smtp'
import { until } from '../test/support/until'
import { type Addressed, recipientLoad } from './client'
import { liveWith, type Site, startSite, user } from './contenders'
import type { Sizes } from './sizes'
import { table } from './table'
import { compared, medianOf, times } from './turns'

const NAMES = 20_000
const SENDERS = 1000
/** Workers per server. */
const WORKERS = 2

const COUNTING = '[harvest]\nenabled = true\nslow_down = 0s'

/** @param every one recipient in this many is unknown */
function withUnknown(entries: number, every: number): () => Addressed {
  let count = 0
  return () => {
    const i = (count * 7919) % entries
    return count++ % every === 0
      ? { address: `nobody${i}@example.com`, code: 550 }
      : { address: user(i), code: 250 }
  }
}

export async function harvest(sizes: Sizes, words: readonly string[]): Promise<void> {
  const site = await startSite(sizes.entries)
  const redis = findProgram('redis-server') ? await startRedis() : undefined
  const sharing = redis ? `${COUNTING}\n[redis]\nurl = ${redis.url}` : undefined
  const wanted = (name: string) => words.every((word) => name.includes(word))
  try {
    await whatCountingCosts(site, sizes, sharing, wanted)
    for (const shared of redis ? [undefined, redis] : [undefined]) {
      const name = shared ? 'dictionary, Redis' : 'dictionary'
      if (wanted(name)) await dictionary(site, sizes, name, shared)
    }
  } finally {
    await redis?.stop()
    await site.stop()
  }
}

async function whatCountingCosts(
  site: Site,
  sizes: Sizes,
  sharing: string | undefined,
  wanted: (name: string) => boolean,
): Promise<void> {
  const cells: string[][] = []
  const plain = liveWith(site, 'live, warm', '')
  for (const [where, more] of [
    ['in the process', COUNTING],
    ['with Redis', sharing],
  ]) {
    for (const every of [20, 2]) {
      const name = `counting ${where}, ${100 / every} % unknown`
      if (!more || !wanted(name)) continue
      const load = () => recipientLoad(withUnknown(sizes.entries, every))
      const row = await compared(plain, liveWith(site, name, more), load, sizes)
      const turns = row.pairs.flatMap((pair) => pair.turns)
      const wrong = turns.reduce((sum, turn) => sum + turn.wrong, 0)
      cells.push([
        ...[name, medianOf(row, 'cpu').toFixed(1), times(row, 'cpu').toFixed(3)],
        String(wrong),
      ])
    }
  }
  if (cells.length > 0) table(['', 'CPU µs', '× not counting', 'wrong'], cells)
}

/** Tries each name once, spread over all servers, from several addresses of one network. */
async function dictionary(
  { slapd }: Site,
  sizes: Sizes,
  name: string,
  redis: RedisServer | undefined,
): Promise<void> {
  const names = Math.min(NAMES, sizes.before)
  const senders = Math.min(SENDERS, sizes.before)
  const ini = `[routes]
example.com = inbound
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
bind_dn = ${slapd.bindDn}
bind_password = ${slapd.password}
[harvest]
enabled = true
network = 24, 64
${redis ? `[redis]\nurl = ${redis.url}` : ''}
`
  const servers = await Promise.all(
    Array.from({ length: sizes.defended }, () =>
      startHaraka({ ini, nodes: WORKERS, logLevel: 'warn' }),
    ),
  )
  if (redis) await until(async () => (await clientsOf(redis)) >= servers.length * WORKERS)
  const begin = performance.now()
  const asked: Asked = { codes: new Map(), seconds: 0 }
  const known: Asked = { codes: new Map(), seconds: 0 }
  try {
    let next = 0
    const harvester = async (haraka: Haraka, number: number) => {
      while (next < names) {
        const from = next
        next += 20
        const list = Array.from({ length: 20 }, (_, i) => `guess${from + i}@example.com`)
        await ask(haraka, `203.0.113.${number}`, list, asked)
      }
    }
    const sender = async (haraka: Haraka, number: number) => {
      const client = `198.51.${number >> 8}.${number & 255}`
      await ask(haraka, client, [user(number % sizes.entries)], known)
    }
    const all = servers.flatMap((one, i) => [0, 1, 2].map((j) => harvester(one, i * 3 + j + 1)))
    for (let number = 0; number < senders; number += 5) {
      await Promise.all(
        [0, 1, 2, 3, 4].map((i) =>
          sender(servers[(number + i) % servers.length] as Haraka, number + i),
        ),
      )
    }
    await Promise.all(all)
    asked.seconds = (performance.now() - begin) / 1000
  } finally {
    await Promise.all(servers.map((one) => one.stop()))
  }
  const row = (what: string, { codes }: Asked) => [
    what,
    ...[250, 550, 421, 451].map((code) => String(codes.get(code) ?? 0)),
  ]
  console.log()
  table(
    [`${name}, ${asked.seconds.toFixed(0)} s`, '250', '550', '421', 'other 4xx'],
    [
      row(`${names.toLocaleString('en')} made-up names`, asked),
      row(`${senders} valid senders`, known),
    ],
  )
}

/** @returns the number of connections, apart from the one that asks */
async function clientsOf(redis: RedisServer): Promise<number> {
  const list = await redis.run('CLIENT', 'LIST')
  return list.split('\n').filter((line) => line.startsWith('id=')).length - 1
}

interface Asked {
  /** The number of recipients by reply code. */
  readonly codes: Map<number, number>
  seconds: number
}

async function ask(
  haraka: Haraka,
  client: string,
  names: readonly string[],
  { codes }: Asked,
): Promise<void> {
  const count = (code: number, by = 1) => codes.set(code, (codes.get(code) ?? 0) + by)
  const smtp = await connectSmtp({
    port: haraka.port,
    proxy: { client, local: '10.0.0.5:25' },
  })
  if (smtp.greeting.code !== 220) {
    smtp.close()
    // The names that the client would have tried.
    count(smtp.greeting.code, names.length)
    return
  }
  await smtp.ehlo()
  await smtp.mail('a@sender.example')
  for (const [index, name] of names.entries()) {
    const { code } = await smtp.rcpt(name)
    count(code)
    if (code !== 421) continue
    count(code, names.length - index - 1)
    break
  }
  smtp.close()
}

// A dictionary attack on three servers, with and without Redis: 20,000 made-up names from one network. At the
// same time, a thousand senders name valid recipients, and 5 % of a provider's 10,000 recipients are unknown.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { VALID } from '../gal/load'
import { type Haraka, startHaraka } from '../support/haraka'
import { memoryOf } from '../support/processes'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const SERVERS = 3
const NAMES = 20_000
const SENDERS = 1000
const OF_PROVIDER = 10_000
/** Recipients of one message. */
const AT_A_TIME = 20
const LIMIT = 30
const valid = (number: number) => VALID[number % VALID.length] as string

type Codes = Map<number, number>

/** Sends one message. A connection that is refused counts for all of its recipients. */
async function mail(
  { port }: Haraka,
  client: string,
  names: readonly string[],
  codes: Codes,
): Promise<void> {
  const count = (code: number, by = 1) => codes.set(code, (codes.get(code) ?? 0) + by)
  const smtp = await connectSmtp({ port, proxy: { client, local: '10.0.0.5:25' } })
  if (smtp.greeting.code === 220) {
    await smtp.ehlo()
    await smtp.mail('a@sender.example')
    for (const [index, name] of names.entries()) {
      const { code } = await smtp.rcpt(name)
      count(code)
      if (code !== 421) continue
      count(code, names.length - index - 1)
      break
    }
  } else count(smtp.greeting.code, names.length)
  smtp.close()
}

describe('a dictionary attack', { skip: skipWithout('slapd', 'slapadd', 'redis-server') }, () => {
  let slapd: Slapd
  let redis: RedisServer
  let servers: readonly Haraka[] = []
  const iniOf = (isShared: boolean) => `[routes]
example.com = inbound
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
[harvest]
enabled = true
network = 24, 64
slow_down = 0s
${isShared ? `[redis]\nurl = ${redis.url}` : ''}
`
  before(async () => {
    slapd = await startSlapd({ entries: VALID })
    redis = await startRedis()
    const options = { ini: iniOf(false), logLevel: 'notice' }
    servers = await Promise.all(Array.from({ length: SERVERS }, () => startHaraka(options)))
  })
  after(async () => {
    await Promise.all(servers.map((one) => one.stop()))
    await redis?.stop()
    await slapd?.stop()
  })

  for (const isShared of [true, false]) {
    // Networks of their own, because the servers go on counting those of the other test.
    const [attacker, provider, senders] = isShared
      ? ['203.0.113', '192.0.2.10', '198.18']
      : ['203.0.114', '198.51.100.10', '198.19']
    test(isShared ? 'on servers that share Redis' : 'on servers by themselves', async () => {
      for (const one of servers) {
        one.forgetLog()
        await one.reload(iniOf(isShared))
      }
      if (isShared) await untilConnected(redis, SERVERS)
      const [harvested, known, provided]: Codes[] = [new Map(), new Map(), new Map()]
      assert.ok(harvested && known && provided)
      let next = 0
      const attack = async (server: Haraka, number: number) => {
        while (next < NAMES) {
          const from = next
          next += AT_A_TIME
          const names = Array.from({ length: AT_A_TIME }, (_, i) => `guess${from + i}@example.com`)
          await mail(server, `${attacker}.${number}`, names, harvested)
        }
      }
      const send = async (server: Haraka, place: number) => {
        for (let n = place; n < SENDERS; n += SERVERS) {
          await mail(server, `${senders}.${n >> 8}.${n & 255}`, [valid(n)], known)
        }
      }
      const provide = async (server: Haraka, place: number) => {
        for (let n = place * AT_A_TIME; n < OF_PROVIDER; n += SERVERS * AT_A_TIME) {
          const names = Array.from({ length: AT_A_TIME }, (_, i) =>
            i === n % 7 ? `mistyped${n}@example.com` : valid(n + i),
          )
          await mail(server, provider, names, provided)
        }
      }
      await Promise.all(
        servers.flatMap((server, place) => [
          ...[1, 2, 3].map((n) => attack(server, place * 3 + n)),
          send(server, place),
          provide(server, place),
        ]),
      )
      assert.deepEqual([...known], [[250, SENDERS]])
      assert.deepEqual(
        new Map([...provided].sort()),
        new Map([
          [250, 9500],
          [550, 500],
        ]),
      )
      const unknown = harvested.get(550) ?? 0
      assert.equal(unknown + (harvested.get(421) ?? 0), NAMES)
      // A process that Redis has not answered in time counts for itself; and replies may be on their way.
      assert.ok(unknown >= LIMIT && unknown <= SERVERS * (LIMIT + 3), `${unknown} names`)
      for (const one of servers) {
        assert.deepEqual(one.logLines(/held off: (?!203\.0\.11[34]\.0\/24 )/), [])
      }
    })
  }
})

const untilConnected = (redis: RedisServer, count: number) =>
  until(async () => (await redis.run('CLIENT', 'LIST')).split('\n').length > count)

describe('replies that come later', { skip: skipWithout('slapd', 'slapadd') }, () => {
  const CLIENTS = 200
  test('delay no other client, and take little memory', { timeout: 120_000 }, async () => {
    const slapd = await startSlapd({ entries: VALID })
    // With a valid recipient for each unknown one, no client is held off; replies wait from the second on.
    const haraka = await startHaraka({
      logLevel: 'notice',
      ini: `[routes]
example.com = inbound
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
[harvest]
enabled = true
unknown_limit = 3
slow_down = 1m to 1m
`,
    })
    const from = async (client: string) => {
      const smtp = await connectSmtp({
        port: haraka.port,
        proxy: { client, local: '10.0.0.5:25' },
      })
      await smtp.ehlo()
      await smtp.mail('a@sender.example')
      return smtp
    }
    try {
      const codes: Codes = new Map()
      for (let n = 0; n < 100; n++) await mail(haraka, '198.51.100.7', VALID.slice(0, 20), codes)
      const before = memoryOf(haraka.pid)
      let answered = 0
      const waiting = await Promise.all(
        Array.from({ length: CLIENTS }, async (_, n) => {
          const smtp = await from('203.0.113.9')
          assert.equal((await smtp.rcpt(valid(n))).code, 250)
          if (n === 0) assert.equal((await smtp.rcpt('first@example.com')).code, 550)
          return smtp
        }),
      )
      for (const [n, smtp] of waiting.entries()) {
        smtp.rcpt(`guess${n}@example.com`).then(
          () => answered++,
          () => {},
        )
      }
      // While these wait, the one process answers others.
      for (let n = 0; n < 50; n++) await mail(haraka, '198.51.100.7', VALID.slice(0, 20), codes)
      assert.deepEqual([...codes], [[250, 3000]])
      assert.equal(answered, 0)
      const more = memoryOf(haraka.pid) - before
      assert.ok(more < 100, `${more} MB more`)
      for (const smtp of waiting) smtp.close()
      await mail(haraka, '198.51.100.7', VALID.slice(0, 20), codes)
      assert.equal(codes.get(250), 3020)
    } finally {
      // Replies that wait do not keep the server from ending.
      assert.equal((await haraka.stop()).signal, null)
      await slapd.stop()
    }
  })
})

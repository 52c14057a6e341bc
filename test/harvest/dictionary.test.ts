// A dictionary run over three servers, with and without Redis: 20,000 made-up names from one network. Beside it
// come a thousand valid senders, and a provider of whose 10,000 recipients 5 % are unknown.
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

/** One message; a connection that is refused counts for all of its recipients. */
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

describe('a dictionary run', { skip: skipWithout('slapd', 'slapadd', 'redis-server') }, () => {
  let slapd: Slapd
  let redis: RedisServer
  before(async () => {
    slapd = await startSlapd({ entries: VALID })
    redis = await startRedis()
  })
  after(async () => {
    await redis?.stop()
    await slapd?.stop()
  })

  for (const isShared of [true, false]) {
    test(isShared ? 'over servers that share Redis' : 'over servers by themselves', async () => {
      const ini = `[routes]
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
      const servers = await Promise.all(
        Array.from({ length: SERVERS }, () => startHaraka({ ini, logLevel: 'notice' })),
      )
      try {
        if (isShared) await untilConnected(redis, SERVERS)
        const [harvested, known, provided]: Codes[] = [new Map(), new Map(), new Map()]
        assert.ok(harvested && known && provided)
        let next = 0
        const harvester = async (server: Haraka, number: number) => {
          while (next < NAMES) {
            const from = next
            next += AT_A_TIME
            const names = Array.from(
              { length: AT_A_TIME },
              (_, i) => `guess${from + i}@example.com`,
            )
            await mail(server, `203.0.113.${number}`, names, harvested)
          }
        }
        const senders = async (server: Haraka, place: number) => {
          for (let n = place; n < SENDERS; n += SERVERS) {
            await mail(server, `198.51.${n >> 8}.${n & 255}`, [valid(n)], known)
          }
        }
        const provider = async (server: Haraka, place: number) => {
          for (let n = place * AT_A_TIME; n < OF_PROVIDER; n += SERVERS * AT_A_TIME) {
            const names = Array.from({ length: AT_A_TIME }, (_, i) =>
              i === n % 7 ? `mistyped${n}@example.com` : valid(n + i),
            )
            await mail(server, '192.0.2.10', names, provided)
          }
        }
        await Promise.all(
          servers.flatMap((server, place) => [
            ...[1, 2, 3].map((n) => harvester(server, place * 3 + n)),
            senders(server, place),
            provider(server, place),
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
        // A process that Redis has not answered in time counts for itself; it answers what is on the way.
        assert.ok(unknown >= LIMIT && unknown <= SERVERS * (LIMIT + 3), `${unknown} names`)
        for (const one of servers) {
          assert.deepEqual(one.logLines(/held off: (?!203\.0\.113\.0\/24 )/), [])
        }
      } finally {
        await Promise.all(servers.map((one) => one.stop()))
      }
    })
  }
})

const untilConnected = (redis: RedisServer, count: number) =>
  until(async () => (await redis.run('CLIENT', 'LIST')).split('\n').length > count)

describe('answers that come later', { skip: skipWithout('slapd', 'slapadd') }, () => {
  const CLIENTS = 200
  test('hold nobody else up, and little memory', { timeout: 120_000 }, async () => {
    const slapd = await startSlapd({ entries: VALID })
    // With a valid recipient for each unknown one nobody is held off; from the second on they wait.
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
      // All the while the one process answers others, and these wait.
      for (let n = 0; n < 50; n++) await mail(haraka, '198.51.100.7', VALID.slice(0, 20), codes)
      assert.deepEqual([...codes], [[250, 3000]])
      assert.equal(answered, 0)
      const more = memoryOf(haraka.pid) - before
      assert.ok(more < 100, `${more} MB more`)
      for (const smtp of waiting) smtp.close()
      await mail(haraka, '198.51.100.7', VALID.slice(0, 20), codes)
      assert.equal(codes.get(250), 3020)
    } finally {
      // Answers that wait do not keep it from ending.
      assert.equal((await haraka.stop()).signal, null)
      await slapd.stop()
    }
  })
})

// A client that asks for made-up names is held off, and no other client notices: with one process, several
// workers, and several servers.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { VALID } from '../gal/load'
import { loadCommand } from '../support/command'
import { type Haraka, startHaraka } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

const { runCommand, runJson } = loadCommand()

const LISTENER = '10.0.0.5:25'
/** Without a line for each recipient: these tests search the log again and again. */
const LOG_LEVEL = 'notice'
const PROVIDER = '192.0.2.10'
const STRANGER = ['somebody@example.com']

const iniOf = ({ url, base }: Pick<Slapd, 'url' | 'base'>, harvest: string, more = '') => `[routes]
example.com = inbound
[restrictions]
hosts[] = 192.0.2.200
[listener 10.0.0.6:25]
enforce = false
[gal]
cache_absent = 0s
[ldap]
url[] = ${url}
base = ${base}
[harvest]
enabled = true
slow_down = 0s
${harvest}
${more}
`

/** @returns the code of each recipient's reply, or of the greeting if the connection was refused */
async function asks(
  haraka: Haraka,
  client: string,
  names: readonly string[],
  local = LISTENER,
): Promise<number[]> {
  const codes: number[] = []
  let smtp: Awaited<ReturnType<typeof connectSmtp>> | undefined
  for (const name of names) {
    if (!smtp) {
      smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
      if (smtp.greeting.code !== 220) {
        assert.equal(smtp.greeting.line.slice(0, 9), '421 4.7.0')
        codes.push(smtp.greeting.code)
        smtp.close()
        smtp = undefined
        continue
      }
      await smtp.ehlo()
      await smtp.mail('a@sender.example')
    }
    const reply = await smtp.rcpt(name)
    codes.push(reply.code)
    if (reply.code !== 421) continue
    assert.equal(reply.enhanced, '4.7.0')
    smtp.close()
    smtp = undefined
  }
  await smtp?.quit()
  return codes
}

const invented = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => `invented${from + i}@example.com`)
const countOf = (codes: readonly number[], code: number) =>
  codes.filter((one) => one === code).length

interface Held {
  readonly network: string
  readonly observed: boolean
  readonly unknown: number
  readonly all: number
}

/** @returns what `gal-relay harvest` lists */
async function heldOff(haraka: Haraka): Promise<readonly Held[]> {
  const { json } = await runJson<{ held: readonly Held[] }>(['harvest', '-c', haraka.dir])
  return json.held
}

/**
 * The directory is away for a while, and nobody is held off meanwhile.
 * @param ini the server's settings
 * @param client one that no other test uses
 * @returns how many unknown recipients are refused afterwards, before the client is held off
 */
async function refusedAfterOutage(
  haraka: Haraka,
  slapd: Slapd,
  ini: string,
  client: string,
): Promise<number> {
  const remembering = ini.replace('cache_absent = 0s', 'cache_absent = 10m')
  await haraka.reload(remembering.replace('[ldap]', '[ldap]\nretry_after = 200ms to 1s'))
  try {
    // Over one connection, and so by one worker.
    assert.equal(countOf(await asks(haraka, client, invented(20)), 550), 20)
    await slapd.kill()
    try {
      assert.equal(countOf(await asks(haraka, client, invented(40, 1000)), 451), 40)
      // Absences that are remembered are not counted either.
      for (let i = 0; i < 4; i++) {
        const codes = await asks(haraka, client, invented(20))
        assert.equal(countOf(codes, 550) + countOf(codes, 451), 20)
      }
    } finally {
      await slapd.restart()
    }
    await until(async () => {
      const all = await Promise.all([1, 2, 3, 4].map(() => asks(haraka, PROVIDER, STRANGER)))
      return all.every(([code]) => code === 550)
    })
    const codes = await asks(haraka, client, invented(80, 2000))
    const refused = countOf(codes, 550)
    assert.equal(refused + countOf(codes, 421), 80)
    return refused
  } finally {
    await haraka.reload(ini)
  }
}

describe('harvest defence', { skip: skipWithout('slapd', 'slapadd', 'redis-server') }, () => {
  let slapd: Slapd
  before(async () => {
    slapd = await startSlapd({ entries: VALID })
  })
  after(() => slapd.stop())

  for (const nodes of [0, 2]) {
    describe(nodes === 0 ? 'of one process' : 'of two workers together', () => {
      let haraka: Haraka
      let ini: string
      before(async () => {
        ini = iniOf(slapd, 'exempt[] = 198.51.100.0/24')
        haraka = await startHaraka({ nodes, ini, logLevel: LOG_LEVEL })
      })
      after(() => haraka.stop())

      test('holds off a client that asks for made-up names, and no other', async () => {
        let isOver = false
        const beside = (async () => {
          const all: number[] = []
          while (!isOver) all.push(...(await asks(haraka, PROVIDER, VALID.slice(0, 20))))
          return all
        })()
        const codes = (
          await Promise.all(
            [0, 1, 2, 3].map((i) => asks(haraka, '203.0.113.9', invented(100, i * 100))),
          )
        ).flat()
        isOver = true
        // A worker that the master has not answered within half a second counts for itself.
        assert.ok(countOf(codes, 550) <= Math.max(nodes, 1) * 33, `${countOf(codes, 550)} names`)
        assert.equal(countOf(codes, 550) + countOf(codes, 421), 400)
        assert.deepEqual([...new Set(await beside)], [250])
        // A recipient that exists is deferred, too.
        assert.deepEqual(await asks(haraka, '203.0.113.9', VALID.slice(0, 1)), [421])
        const lines = haraka.logLines(
          /held off: 203\.0\.113\.9 for 30m: 3\d of 3\d recipients within 10m/,
        )
        assert.ok(lines.length >= 1 && lines.length <= Math.max(nodes, 1), lines.join('\n'))
      })

      test('is listed and ended by the gal-relay command', async () => {
        assert.deepEqual(
          (await heldOff(haraka)).map(({ network, observed }) => [network, observed]),
          [['203.0.113.9', false]],
        )
        const { stdout } = await runCommand(['harvest', '-c', haraka.dir])
        assert.match(stdout, /203\.0\.113\.9 .*unknown/)
        const released = await runCommand(['harvest', 'release', '203.0.113.9', '-c', haraka.dir])
        assert.equal(released.code, 0, released.stderr)
        assert.deepEqual(await heldOff(haraka), [])
        for (let i = 0; i < 4; i++) {
          assert.deepEqual(
            await asks(haraka, '203.0.113.9', [VALID[0] as string, 'x@example.com']),
            [250, 550],
          )
        }
        const again = await runCommand(['harvest', 'release', '203.0.113.9', '-c', haraka.dir])
        assert.equal(again.code, 1)
      })

      test('does not count clients that may relay, or exempt ones', async () => {
        for (const client of ['192.0.2.200', '198.51.100.7']) {
          assert.equal(countOf(await asks(haraka, client, invented(60)), 550), 60, client)
        }
      })

      test('counts the first 64 bits of an IPv6 address as one client', async () => {
        for (let i = 0; i < 30; i++) {
          const [code] = await asks(haraka, `2001:db8:1:2::${i + 1}`, invented(1, i))
          assert.equal(code, 550)
        }
        assert.deepEqual(await asks(haraka, '2001:db8:1:2:ffff::1', VALID.slice(0, 1)), [421])
        assert.deepEqual(await asks(haraka, '2001:db8:1:3::1', VALID.slice(0, 1)), [250])
      })

      test('only logs which client it would hold off where the plugin observes', async () => {
        const client = '203.0.113.77'
        await asks(haraka, client, invented(60), '10.0.0.6:25')
        await haraka.waitForLog(/would be held off: 203\.0\.113\.77 /)
        assert.deepEqual(await asks(haraka, client, VALID.slice(0, 1)), [250])
        const held = await heldOff(haraka)
        assert.ok(held.some(({ network, observed }) => network === client && observed))
      })

      if (nodes === 0) {
        test('holds no client off while the directory is away', async () => {
          assert.equal(await refusedAfterOutage(haraka, slapd, ini, '203.0.113.20'), 10)
        })
      }
    })
  }
})

describe('harvest defence of two servers that share Redis', {
  skip: skipWithout('slapd', 'slapadd', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let network: TcpProxy
  let web: number
  let ini: string
  let servers: readonly [Haraka, Haraka]
  before(async () => {
    slapd = await startSlapd({ entries: VALID })
    redis = await startRedis({ conf: ['enable-debug-command local'] })
    network = await startTcpProxy(redis.port)
    web = await freePort()
    ini = iniOf(slapd, '', `[redis]\nurl = redis://127.0.0.1:${network.port}\n`)
    servers = [
      await startHaraka({ nodes: 2, ini, logLevel: LOG_LEVEL }),
      // With the settings that other plugins use, too.
      await startHaraka({
        ini: iniOf(slapd, '', '[http]\nenabled = true\n'),
        logLevel: LOG_LEVEL,
        files: {
          'config/redis.ini': `[server]\nhost=127.0.0.1\nport=${network.port}\n`,
          'config/http.ini': `listen=127.0.0.1:${web}\n`,
        },
      }),
    ]
  })
  after(async () => {
    await Promise.all(servers.map((one) => one.stop()))
    await network.stop()
    await redis.stop()
    await slapd.stop()
  })

  /** Servers ask Redis once a second, and less often on a busy machine. */
  const untilHeld = (haraka: Haraka, client: string, isHeld = true) =>
    until(async () => {
      const [code] = await asks(haraka, client, VALID.slice(0, 1))
      return code === (isHeld ? 421 : 250)
    })

  test('is shared, and so is what the command lists', async () => {
    await until(
      async () =>
        Number(await redis.run('CLIENT', 'LIST').then((all) => all.split('\n').length)) >= 4,
    )
    const client = '203.0.113.9'
    const codes = (
      await Promise.all(
        servers.flatMap((one) => [0, 1].map((i) => asks(one, client, invented(100, i * 100)))),
      )
    ).flat()
    assert.equal(codes.length, 400)
    assert.equal(countOf(codes, 550) + countOf(codes, 421), 400)
    // On a busy machine, Redis may not answer within 50 ms. The process then counts for itself for a second.
    assert.ok(countOf(codes, 550) <= 3 * 35, `${countOf(codes, 550)} names`)
    for (const one of servers) await untilHeld(one, client)
    await until(async () => (await heldOff(servers[1])).some(({ network }) => network === client))
    assert.equal((await runCommand(['harvest', 'release', client, '-c', servers[1].dir])).code, 0)
    for (const one of servers) await untilHeld(one, client, false)
    await until(async () => (await heldOff(servers[0])).length === 0)
    const { stdout } = await runCommand(['check', '-c', servers[0].dir])
    assert.match(stdout, /Redis 7\S* *\n.*keys that begin with gal-relay: may be written/)
  })

  /** How often processes have said that they count for themselves. */
  const timesAway = (one: Haraka) => one.logLines(/Redis cannot be asked \(/).length

  /**
   * Asks the first server for forty names. On a busy machine, Redis may not answer within 50 ms. The server's
   * processes then log that they count for themselves, and the next client asks once they count together again.
   * @returns the first client for which they counted together all the time, and the codes that it got
   */
  async function countedTogether(clients: Iterable<string>) {
    const [server] = servers
    for (const client of clients) {
      await until(() => away(server) === 0)
      const before = timesAway(server)
      const codes = await asks(server, client, invented(40))
      const isSplit = () => timesAway(server) > before
      if (countOf(codes, 421) < 10) await until(isSplit, () => codes.join())
      if (!isSplit()) return { client, codes }
    }
    throw new Error('Redis has been away each time')
  }
  const inNetwork = (network: string) =>
    Array.from({ length: 20 }, (_, i) => `${network}.${i + 10}`)

  test('holds off a client at the other server, too', async () => {
    const { client, codes } = await countedTogether(inNetwork('203.0.114'))
    assert.equal(countOf(codes, 421), 10)
    await untilHeld(servers[1], client)
    assert.deepEqual(servers[1].logLines(/held off: 203\.0\.114\./), [])
  })

  /** How many processes say that they count for themselves. */
  const away = (one: Haraka) =>
    one.logLines(/Redis cannot be asked \(.*each process counts for itself/).length -
    one.logLines(/Redis answers again/).length

  /** @returns milliseconds for a client half of whose recipients are unknown */
  async function mailTakes(one: Haraka, client: string): Promise<number> {
    const names = VALID.slice(0, 100).flatMap((name, i) => [name, `x${i}@example.com`])
    const begin = performance.now()
    const codes = await asks(one, client, names)
    assert.deepEqual(codes, Array(100).fill([250, 550]).flat())
    return performance.now() - begin
  }

  /** What the second server shows over HTTP. */
  const shown = async (what: string) =>
    (await fetch(`http://127.0.0.1:${web}/gal-relay/${what}`)).text()

  /** Both servers answer mail while something is wrong with Redis. */
  async function goesOn(client: string): Promise<void> {
    for (const one of servers) {
      const codes = await asks(one, PROVIDER, [...VALID.slice(0, 30), 'x@example.com'])
      assert.deepEqual(codes, [...Array(30).fill(250), 550])
      const names = await asks(one, client, invented(100))
      // Each process counts for itself, and one server has two workers.
      assert.ok(
        countOf(names, 550) >= 30 && countOf(names, 550) <= 70,
        `${countOf(names, 550)} names`,
      )
      assert.equal(countOf(names, 550) + countOf(names, 421), 100)
      await until(() => away(one) > 0)
    }
    await until(async () => /^gal_relay_redis_up 0$/m.test(await shown('metrics')))
    assert.match(await shown(''), /Redis cannot be asked/)
    // Mail is answered all the same, so the server counts as healthy.
    assert.equal((await fetch(`http://127.0.0.1:${web}/gal-relay/health`)).status, 200)
  }

  /** @param network the first three numbers of the clients' addresses */
  async function comesBack(network: string): Promise<void> {
    for (const one of servers) await until(() => away(one) === 0)
    await until(async () => /^gal_relay_redis_up 1$/m.test(await shown('metrics')))
    const { client, codes } = await countedTogether(inNetwork(network))
    assert.ok(countOf(codes, 421) >= 10)
    await untilHeld(servers[1], client)
    for (const one of servers) {
      assert.deepEqual(one.logLines(/\[CRIT\]|failure in|failed:/), [])
    }
  }

  let asleep: Promise<unknown> | undefined
  const faults: readonly [name: string, begin: () => unknown, end: () => unknown][] = [
    [
      'asleep',
      () => {
        asleep = redis.run('DEBUG', 'SLEEP', '10')
      },
      () => asleep,
    ],
    [
      'slow',
      () => network.behave({ kind: 'delay', milliseconds: 300 }),
      () => network.behave({ kind: 'pass' }),
    ],
    [
      'cut off',
      () => network.behave({ kind: 'hang' }),
      () => {
        network.behave({ kind: 'pass' })
        network.drop('reset')
      },
    ],
    ['stopped', () => redis.pause(), () => redis.resume()],
    ['killed', () => redis.kill(), () => redis.restart()],
    [
      'read-only',
      () => redis.run('REPLICAOF', '127.0.0.1', '1'),
      () => redis.run('REPLICAOF', 'NO', 'ONE'),
    ],
    [
      'full',
      () => redis.run('CONFIG', 'SET', 'maxmemory', '1'),
      () => redis.run('CONFIG', 'SET', 'maxmemory', '0'),
    ],
  ]
  for (const [index, [name, begin, end]] of faults.entries()) {
    test(`goes on in each process while Redis is ${name}, and is shared again afterwards`, async () => {
      for (const one of servers) await until(() => away(one) === 0)
      const [server] = servers
      const usual = await mailTakes(server, `198.18.${index}.3`)
      await begin()
      try {
        const more = (await mailTakes(server, `198.18.${index}.4`)) - usual
        // If each unknown recipient waited 50 ms for Redis, it would be five seconds.
        assert.ok(more < 2500, `${more} ms more`)
        await goesOn(`198.18.${index}.1`)
      } finally {
        await end()
      }
      await comesBack(`198.18.${index}`)
    })
  }

  test('holds no client off while the directory is away', async () => {
    const [server] = servers
    for (const client of inNetwork('203.0.115')) {
      await until(() => away(server) === 0)
      const before = timesAway(server)
      const refused = await refusedAfterOutage(server, slapd, ini, client)
      // What Redis answers too late may be counted twice.
      if (timesAway(server) > before) continue
      assert.equal(refused, 10)
      return
    }
    assert.fail('Redis has been away each time')
  })

  test('goes on after Redis has closed its connections', async () => {
    for (let i = 0; i < 5; i++) {
      await redis.run('CLIENT', 'KILL', 'TYPE', 'normal')
      assert.deepEqual(await asks(servers[0], PROVIDER, VALID.slice(0, 5)), Array(5).fill(250))
    }
    await untilHeldBy('198.18.9.1')
  })

  async function untilHeldBy(client: string): Promise<void> {
    await until(async () => (await asks(servers[0], client, invented(60))).includes(421))
    await untilHeld(servers[1], client)
  }
})

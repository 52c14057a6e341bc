// Several servers and how they are found: which one is asked, what happens at the start, how long
// anyone waits, and that nothing is left behind.
import assert from 'node:assert/strict'
import { setServers } from 'node:dns/promises'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { AddressSearch } from '../../plugins/gal-relay/gal/directory/address-search'
import { listDefinition } from '../../plugins/gal-relay/gal/directory/list-definition'
import { Directory } from '../../plugins/gal-relay/ldap/directory'
import { DirectoryError } from '../../plugins/gal-relay/ldap/directory-error'
import { inOrder } from '../../plugins/gal-relay/ldap/srv'
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { startDns } from '../support/dns-server'
import { freePort } from '../support/ports'
import { startChild } from '../support/processes'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { startStalledPort } from '../support/stalled-port'
import { startStopwatch } from '../support/stopwatch'
import { startTcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'
import { GAL, LDAP, recordedLog, serverUrl, type TestList, testList } from './lists'
import { assertNothingWrong, startLoad, VALID } from './load'

const TIMES = {
  connect_timeout: 2000,
  query_timeout: 2000,
  answer_within: 6000,
  retry_after: { least: 100, most: 1000 },
} satisfies Partial<LdapSettings>

const states = (list: TestList) => list.report().servers.map(({ state }) => state)

/** What is left is what is used. */
const collectGarbage: () => void = (() => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
})()

const url = (port: number) => serverUrl(`ldap://127.0.0.1:${port}`)

describe('servers', { skip: skipWithout('slapd', 'slapadd'), concurrency: 4 }, () => {
  let slapd: Slapd
  before(async () => {
    slapd = await startSlapd({ entries: VALID })
  })
  after(() => slapd?.stop())

  async function withList(
    ldap: Partial<LdapSettings>,
    run: (list: TestList) => Promise<void>,
  ): Promise<void> {
    const list = testList({ ...TIMES, ...ldap })
    try {
      await run(list)
    } finally {
      await list.close()
    }
  }

  test('a list that was never started connects when it is asked', () =>
    withList({ url: [url(slapd.port)] }, async (list) => {
      assert.equal(await list.ask(VALID[0] as string), 'found')
    }))

  test('nothing listens on the first server at the start', async () => {
    const dead = await freePort()
    await withList({ url: [url(dead), url(slapd.port)] }, async (list) => {
      const asked = await Promise.all(VALID.slice(0, 50).map((address) => list.ask(address)))
      assert.deepEqual(new Set(asked), new Set(['found']))
      assert.equal(await list.ask('nobody@example.com'), 'absent')
    })
  })

  test('connecting to the first server hangs at the start', async () => {
    const stalled = await startStalledPort()
    try {
      await withList({ url: [url(stalled.port), url(slapd.port)] }, async (list) => {
        const stopwatch = startStopwatch()
        assert.equal(await list.ask(VALID[0] as string), 'found')
        // It did not even wait for the one that hangs.
        assert.ok(stopwatch.now < TIMES.connect_timeout / 2)
        stopwatch.stop()
        await until(() => states(list).join() === 'down,up')
        assert.match(String(list.report().servers[0]?.lastError), /no connection in 2000 ms/)
      })
    } finally {
      await stalled.stop()
    }
  })

  test('connecting hangs everywhere: the first wait, then all are answered at once', async () => {
    const stalled = await startStalledPort()
    try {
      await withList({ url: [url(stalled.port)] }, async (list) => {
        const stopwatch = startStopwatch()
        const first = await Promise.all(VALID.slice(0, 20).map((address) => list.ask(address)))
        assert.deepEqual(new Set(first), new Set(['unavailable']))
        const took = stopwatch.now
        assert.ok(took < TIMES.answer_within + 500)
        assert.equal(await list.ask(VALID[0] as string), 'unavailable')
        assert.ok(stopwatch.now - took < TIMES.connect_timeout / 2)
        stopwatch.stop()
      })
    } finally {
      await stalled.stop()
    }
  })

  test('the first server never answers, and a search may take as long as the answer', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const times = { query_timeout: 2000, answer_within: 2000 }
    try {
      await withList({ ...times, url: [url(proxy.port), url(slapd.port)] }, async (list) => {
        list.start()
        await until(() => states(list).join() === 'up,up')
        proxy.behave({ kind: 'hang' })
        assert.equal(await list.ask(VALID[1] as string), 'found')
        await until(() => states(list).join() === 'down,up')
      })
    } finally {
      await proxy.stop()
    }
  })

  test('the first server is so slow that it has no room: the next one is asked', async () => {
    const proxy = await startTcpProxy(slapd.port)
    try {
      const urls = [url(proxy.port), url(slapd.port)]
      await withList({ connections: 1, url: urls }, async (list) => {
        list.start()
        await until(() => states(list).join() === 'up,up')
        proxy.behave({ kind: 'delay', milliseconds: 1000 })
        const asked = await Promise.all(VALID.map((address) => list.ask(address)))
        assert.deepEqual(new Set(asked), new Set(['found']))
        const [slow, other] = list.report().servers
        assert.ok(slow && slow.searches > 0)
        assert.ok(other && other.searches > 0)
      })
    } finally {
      await proxy.stop()
    }
  })

  test('an address with a tag takes no longer than one without', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const list = testList({ ...TIMES, url: [url(proxy.port)] }, { recipient_delimiter: '+' })
    try {
      assert.equal(await list.ask(VALID[0] as string), 'found')
      proxy.behave({ kind: 'delay', milliseconds: 1000 })
      const stopwatch = startStopwatch()
      assert.equal(await list.ask((VALID[0] as string).replace('@', '+tag@')), 'found')
      assert.ok(stopwatch.now < 1900, `${stopwatch.now} ms`)
      stopwatch.stop()
    } finally {
      await list.close()
      await proxy.stop()
    }
  })

  test('all servers are dead at the start, and one comes', async () => {
    const late = await startSlapd({ entries: VALID })
    await late.kill()
    const list = testList({ ...TIMES, url: [url(await freePort()), url(late.port)] })
    list.start()
    const load = startLoad(list)
    try {
      const errors = () => list.log.lines.filter((line) => line.startsWith('error'))
      await until(() => errors().length > 0 && load.since(0).length > 500)
      assert.ok(load.since(0).every(({ state }) => state === 'unavailable'))
      assert.deepEqual(errors(), [
        'error no directory server can be asked; recipients are deferred',
      ])
      await late.restart()
      await load.untilAnswered()
    } finally {
      assertNothingWrong(await load.stop(), TIMES.answer_within)
      await list.close()
      await late.stop()
    }
  })

  test('the preferred server is asked again when it is back', async () => {
    const proxies = [await startTcpProxy(slapd.port), await startTcpProxy(slapd.port)]
    const [first] = proxies
    await withList({ url: proxies.map(({ port }) => url(port)) }, async (list) => {
      list.start()
      await until(() => states(list).join() === 'up,up')
      const searches = () => list.report().servers.map((server) => server.searches)
      assert.equal(await list.ask(VALID[0] as string), 'found')
      assert.deepEqual(searches(), [1, 0])
      first?.behave({ kind: 'reset' })
      await until(() => states(list).join() === 'down,up')
      assert.equal(await list.ask(VALID[0] as string), 'found')
      assert.deepEqual(searches(), [1, 1])
      first?.behave({ kind: 'pass' })
      await until(() => states(list).join() === 'up,up')
      assert.equal(await list.ask(VALID[0] as string), 'found')
      assert.deepEqual(searches(), [2, 1])
    })
    await Promise.all(proxies.map((proxy) => proxy.stop()))
  })

  test('changes of state are logged once, however many are asked', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const list = testList({ ...TIMES, url: [url(proxy.port)] })
    list.start()
    const load = startLoad(list)
    await load.untilAnswered()
    // One that is lost soon after it came is not connected to again at once.
    await sleep(2 * TIMES.retry_after.least)
    proxy.behave({ kind: 'reset' })
    await until(() => list.log.lines.some((line) => line.startsWith('error')))
    await sleep(1500)
    proxy.behave({ kind: 'pass' })
    await load.untilAnswered()
    await load.stop()
    await list.close()
    await proxy.stop()
    const name = `directory ldap://127.0.0.1:${proxy.port}`
    const lines = list.log.lines.filter((line) => !/^(info|debug)/.test(line))
    assert.deepEqual(
      lines.map((line) => line.replace(/(is down:).*/, '$1')),
      [
        `notice ${name} is up`,
        `warn ${name} is down:`,
        'error no directory server can be asked; recipients are deferred',
        `notice ${name} is up`,
      ],
    )
  })

  test('an idle connection that died is noticed before anyone needs it', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const ldap = { ...LDAP, ...TIMES, url: [url(proxy.port)] }
    const check = new AddressSearch(listDefinition(GAL, ldap), ldap.query_timeout).forNobody()
    const directory = new Directory(ldap, check, recordedLog(), { idle: 200 })
    directory.start()
    const ask = () =>
      directory.ask(async (turn) => {
        const [result] = await turn.search(check)
        return result?.code
      })
    const isUp = () => directory.report()[0]?.state === 'up'
    assert.equal(await ask(), 0)
    await sleep(400)
    assert.ok(isUp())
    proxy.behave({ kind: 'hang' })
    await until(() => !isUp())
    proxy.behave({ kind: 'pass' })
    await until(isUp)
    const stopwatch = startStopwatch()
    assert.equal(await ask(), 0)
    assert.ok(stopwatch.now < TIMES.query_timeout / 2)
    stopwatch.stop()
    await directory.close()
    await proxy.stop()
  })

  test('a new connection takes the place of others, which finish what they are asked', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const ldap = { ...LDAP, ...TIMES, url: [url(proxy.port)] }
    const check = new AddressSearch(listDefinition(GAL, ldap), ldap.query_timeout).forNobody()
    const directory = new Directory(ldap, check, recordedLog(), { idle: 200 })
    try {
      await directory.ask(async (turn) => {
        const { server, connection } = turn
        assert.equal(await server.newestConnection(60_000), connection)
        const newest = await server.newestConnection(0)
        assert.notEqual(newest, connection)
        assert.ok(server.hasReplaced(connection) && !server.hasReplaced(newest))
        await directory.ask(async (other) => assert.equal(other.connection, newest))
        // Longer than an idle connection is left alone.
        await sleep(500)
        const [result] = await turn.search(check)
        assert.equal(result?.code, 0)
        assert.equal(proxy.connections, 2)
      })
      await until(() => proxy.connections === 1)
      // There is no new connection: the one that there is goes on.
      proxy.redirect(await freePort())
      await directory.ask(async ({ server, connection }) => {
        await assert.rejects(server.newestConnection(0), DirectoryError)
        assert.ok(!server.hasReplaced(connection))
      })
      assert.equal(directory.report()[0]?.state, 'up')
    } finally {
      await directory.close()
      await proxy.stop()
    }
  })

  test('no more searches in flight or waiting than the limits, and all of them answered', async () => {
    const proxy = await startTcpProxy(slapd.port)
    proxy.behave({ kind: 'delay', milliseconds: 50 })
    await withList({ url: [url(proxy.port)] }, async (list) => {
      assert.equal(await list.ask(VALID[0] as string), 'found')
      let most = 0
      const watch = setInterval(() => {
        most = Math.max(most, list.report().servers[0]?.inFlight ?? 0)
      }, 5)
      const stopwatch = startStopwatch()
      const asked = Array.from({ length: 5000 }, (_, i) => ({
        i,
        answer: list.ask(i % 2 ? `${VALID[i % VALID.length]}` : `nobody${i}@example.com`),
      }))
      const answers = await Promise.all(asked.map(({ answer }) => answer))
      clearInterval(watch)
      assert.ok(stopwatch.now < TIMES.answer_within + 500)
      stopwatch.stop()
      assert.ok(most <= 128, `${most} in flight`)
      answers.forEach((state, i) => {
        assert.ok(state === 'unavailable' || state === (i % 2 ? 'found' : 'absent'))
      })
      assert.ok(answers.some((state) => state === 'found'))
    })
    await proxy.stop()
  })

  test('those who wait for one proof are no more than that either, when it is there', async () => {
    const proxy = await startTcpProxy(slapd.port)
    proxy.behave({ kind: 'delay', milliseconds: 50 })
    await withList({ url: [url(proxy.port)] }, async (list) => {
      let most = 0
      const watch = setInterval(() => {
        most = Math.max(most, list.report().servers[0]?.inFlight ?? 0)
      }, 2)
      const asked = Array.from({ length: 1000 }, (_, i) => list.ask(`nobody${i}@example.com`))
      const answers = await Promise.all(asked)
      clearInterval(watch)
      assert.ok(most <= 128, `${most} in flight`)
      assert.ok(answers.includes('absent'))
    })
    await proxy.stop()
  })

  test('a hundred faults leave no sockets, timers or memory behind', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const list = testList({
      ...TIMES,
      retry_after: { least: 10, most: 20 },
      url: [url(proxy.port)],
    })
    list.start()
    const load = startLoad(list)
    const faults = [
      () => proxy.drop(),
      () => proxy.drop('reset'),
      () => proxy.behave({ kind: 'garbage' }),
      () => proxy.behave({ kind: 'cut', after: 5 }),
      () => proxy.behave({ kind: 'hang' }),
    ]
    const resources = () =>
      process.getActiveResourcesInfo().filter((kind) => /TCP|Timeout/.test(kind)).length
    const cycle = async (count: number) => {
      for (let i = 0; i < count; i++) {
        faults[i % faults.length]?.()
        await sleep(20)
        proxy.behave({ kind: 'pass' })
        await sleep(20)
      }
      await load.untilAnswered()
      collectGarbage()
      return { resources: resources(), heap: process.memoryUsage().heapUsed }
    }
    const early = await cycle(20)
    const late = await cycle(100)
    await load.stop()
    assert.ok(late.heap < early.heap + 30e6, JSON.stringify({ early, late }))
    await until(() => proxy.connections <= 2)
    await until(() => resources() <= early.resources + 5)
    await list.close()
    await until(() => proxy.connections === 0)
    await proxy.stop()
  })

  test('closing answers what is under way, and lets the process end', async () => {
    const proxy = await startTcpProxy(slapd.port)
    const list = testList({ ...TIMES, url: [url(proxy.port)] })
    assert.equal(await list.ask(VALID[0] as string), 'found')
    proxy.behave({ kind: 'delay', milliseconds: 100 })
    const under = list.ask(VALID[1] as string)
    await sleep(20)
    const closed = list.close()
    assert.equal(await under, 'found')
    assert.equal(await list.ask(VALID[0] as string), 'unavailable')
    await closed
    await proxy.stop()
  })

  for (const state of ['up', 'down', 'hanging']) {
    test(`a process with a list that is ${state} ends when the list is closed`, async () => {
      const proxy = await startTcpProxy(slapd.port)
      if (state === 'down') proxy.behave({ kind: 'reset' })
      if (state === 'hanging') proxy.behave({ kind: 'hang' })
      const script = `
        const { testList, serverUrl } = require(${JSON.stringify(require.resolve('./lists'))})
        const list = testList({ url: [serverUrl('ldap://127.0.0.1:${proxy.port}')] })
        list.start()
        const asked = list.ask('user1@example.com')
        setTimeout(async () => {
          const begin = performance.now()
          await list.close()
          await asked
          console.log('closed', await asked)
        }, 500)`
      const child = await startChild(process.execPath, ['-e', script])
      await child.waitForLine(/closed/)
      const begin = performance.now()
      const { code } = await child.exited
      assert.equal(code, 0)
      assert.ok(performance.now() - begin < LDAP.connect_timeout / 2)
      await proxy.stop()
    })
  }
})

describe('servers found by DNS SRV', { skip: skipWithout('slapd', 'slapadd') }, () => {
  const NAME = '_ldap._tcp.corp.test'
  const record = (port: number, priority = 0) => ({
    priority,
    weight: 1,
    port,
    target: 'localhost',
  })

  test('by priority, and again when there are others', async () => {
    const [one, two] = [await startSlapd({ entries: VALID }), await startSlapd({ entries: VALID })]
    const dns = await startDns({ [NAME]: { srv: [record(two.port, 20), record(one.port, 10)] } })
    setServers([dns.address])
    const list = testList({ ...TIMES, url: [serverUrl('srv://corp.test')] })
    try {
      assert.equal(await list.ask(VALID[0] as string), 'found')
      assert.deepEqual(
        list.report().servers.map(({ server }) => server),
        [one.port, two.port].map((port) => `ldap://localhost:${port}`),
      )
      await one.kill()
      assert.equal(await list.ask(VALID[0] as string), 'found')
    } finally {
      await list.close()
      await dns.stop()
      await Promise.all([one.stop(), two.stop()])
    }
  })

  test('no DNS answer, then one: unavailable, then answered', async () => {
    const slapd = await startSlapd({ entries: VALID })
    const dns = await startDns({ [NAME]: { fails: true } })
    setServers([dns.address])
    const list = testList({ ...TIMES, url: [serverUrl('srv://corp.test')] })
    try {
      assert.equal(await list.ask(VALID[0] as string), 'unavailable')
      const [server] = list.report().servers
      assert.deepEqual([server?.server, server?.state], ['srv://corp.test', 'down'])
      dns.setRecords({ [NAME]: { srv: [record(slapd.port)] } })
      const load = startLoad(list)
      try {
        await load.untilAnswered()
      } finally {
        assertNothingWrong(await load.stop(), TIMES.answer_within)
      }
    } finally {
      await list.close()
      await dns.stop()
      await slapd.stop()
    }
  })

  test('records of one priority come by chance as their weights say', () => {
    const srv = (name: string, priority: number, weight: number) => ({
      name,
      priority,
      weight,
      port: 389,
    })
    const records = [srv('c', 2, 0), srv('heavy', 1, 90), srv('light', 1, 10), srv('zero', 1, 0)]
    let heavy = 0
    for (let i = 0; i < 2000; i++) {
      const names = inOrder(records).map(({ name }) => name)
      assert.equal(names.length, 4)
      assert.equal(names[3], 'c')
      if (names[0] === 'heavy') heavy++
    }
    assert.ok(heavy > 1600 && heavy < 1960, `${heavy} of 2000`)
  })
})

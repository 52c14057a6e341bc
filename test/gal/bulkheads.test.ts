// A fault of one directory changes nothing for the recipients of another: each has its own connections,
// waiting searches, cache, and record of what has been logged. A directory that nobody asks has no connection.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DirectoryLists } from '../../plugins/gal-relay/gal/directories'
import { listDefinition } from '../../plugins/gal-relay/gal/directory/list-definition'
import { LiveList } from '../../plugins/gal-relay/gal/live'
import { Directory } from '../../plugins/gal-relay/ldap/directory'
import { DomainMap } from '../../plugins/gal-relay/routing/domain-map'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { parseSentTo } from '../../plugins/gal-relay/routing/routes'
import type { Directories, DirectorySettings } from '../../plugins/gal-relay/settings/directories'
import { atOnce } from '../../plugins/gal-relay/settings/steps'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { type Behaviour, startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'
import { GAL, LDAP, type RecordedLog, recordedLog, SNAPSHOT, serverUrl } from './lists'
import { startLoad, VALID } from './load'

const TIMES = {
  connect_timeout: 2000,
  query_timeout: 2000,
  answer_within: 6000,
  retry_after: { least: 100, most: 1000 },
}
/** Milliseconds within which a directory that is well answers, whatever else the machine does. */
const LONG = 1500

const FAULTS: readonly (readonly [string, Behaviour | 'closed'])[] = [
  ['is down', 'closed'],
  ['hangs: it accepts and never answers', { kind: 'hang' }],
  ['answers after three seconds', { kind: 'delay', milliseconds: 3000 }],
  ['floods', { kind: 'flood' }],
  ['lies: it answers with what is no LDAP', { kind: 'garbage' }],
]

function directoriesOf(urls: Readonly<Record<string, string>>): Directories {
  const byDomain = new DomainMap<readonly DirectorySettings[]>()
  const all = Object.entries(urls).map(([name, url]): DirectorySettings => {
    const sentTo = parseSentTo(`${name}.example`)
    assert.ok('match' in sentTo && sentTo.match !== 'address')
    const ldap = { ...LDAP, ...TIMES, url: [serverUrl(url)] }
    const one = { name, domains: [sentTo], gal: GAL, ldap, snapshot: SNAPSHOT }
    byDomain.set(sentTo, [one])
    return one
  })
  return { all, byDomain, otherwise: [], without: [] }
}

interface Site {
  /** In front of the directory named ill. */
  readonly proxy: TcpProxy
  readonly logs: ReadonlyMap<string, RecordedLog>
  readonly lists: DirectoryLists
}

describe('of two directories, one', {
  skip: skipWithout('slapd', 'slapadd'),
  concurrency: 5,
}, () => {
  let slapd: Slapd

  before(async () => {
    slapd = await startSlapd({
      entries: ['ill', 'well'].flatMap((name) =>
        VALID.map((address) => address.replace(/@.*/, `@${name}.example`)),
      ),
    })
  })
  after(() => slapd?.stop())

  async function withLists(run: (site: Site) => Promise<void>): Promise<void> {
    const proxy = await startTcpProxy(slapd.port)
    const logs = new Map<string, RecordedLog>()
    const ill = `ldap://127.0.0.1:${proxy.port}`
    const lists = new DirectoryLists(directoriesOf({ ill, well: slapd.url }), (name) => {
      const log = recordedLog()
      logs.set(name, log)
      return log
    })
    lists.start()
    try {
      await run({ proxy, logs, lists })
    } finally {
      await lists.close()
      await proxy.stop()
    }
  }

  const loadOn = ({ lists }: Site, name: string, askers?: number) =>
    startLoad(
      {
        answer: async (address) =>
          lists.lookup(recipientOf(address.slice(0, address.indexOf('@')), `${name}.example`)),
      },
      { askers },
    )

  for (const [name, fault] of FAULTS) {
    test(`${name}: recipients of the other one are answered as before`, () =>
      withLists(async (site) => {
        const { proxy, logs } = site
        const ill = loadOn(site, 'ill', 50)
        const well = loadOn(site, 'well')
        await Promise.all([ill.untilAnswered(), well.untilAnswered()])
        if (fault === 'closed') proxy.closePort()
        else proxy.behave(fault)
        await until(() => ill.since(0).some(({ state }) => state === 'unavailable'))
        const from = well.now
        await sleep(3 * TIMES.query_timeout)
        const [, asked] = await Promise.all([ill.stop(), well.stop()])
        assert.ok(asked.filter(({ at }) => at >= from).length > 100)
        const wrong = asked.filter(({ isValid, state }) => state !== (isValid ? 'found' : 'absent'))
        assert.deepEqual(wrong.slice(0, 3), [])
        assert.deepEqual(asked.filter(({ took }) => took >= LONG).slice(0, 3), [])
        assert.doesNotMatch(String(logs.get('well')?.lines), /down|deferred/)
        assert.match(String(logs.get('ill')?.lines), /down|deferred/)
      }))
  }

  test('has too many searches waiting: one more is unavailable at once, and the other directory is asked', () =>
    withLists(async ({ proxy, lists }) => {
      const ask = (local: string, name: string) =>
        lists.lookup(recipientOf(local, `${name}.example`))
      await Promise.all([ask('user0', 'ill'), ask('user0', 'well')])
      proxy.behave({ kind: 'hang' })
      const waiting = Array.from({ length: 5000 }, (_, n) => ask(`user${n}`, 'ill'))
      let isFirst = true
      const beyond = await Promise.race(
        waiting.map(async (one) => {
          const answer = await one
          const first = isFirst
          isFirst = false
          return { answer, first }
        }),
      )
      assert.ok(beyond.first)
      assert.deepEqual(beyond.answer, {
        state: 'unavailable',
        reason: 'too many searches are waiting',
      })
      assert.equal((await ask('user1', 'well')).state, 'found')
      assert.equal((await ask('nobody', 'well')).state, 'absent')
      const states = (await Promise.all(waiting)).map(({ state }) => state)
      assert.deepEqual(new Set(states), new Set(['unavailable']))
    }))
})

describe('a directory of a section', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let slapd: Slapd
  let proxy: TcpProxy

  before(async () => {
    slapd = await startSlapd({ entries: ['user0@a.example', 'user0@b.example'] })
    proxy = await startTcpProxy(slapd.port)
  })
  after(async () => {
    await proxy?.stop()
    await slapd?.stop()
  })

  test('is connected to when it is asked, and not before', async () => {
    const url = `ldap://127.0.0.1:${proxy.port}`
    const lists = new DirectoryLists(directoriesOf({ a: url, b: url }), () => recordedLog())
    const stateOf = () => lists.report().map(({ servers }) => servers[0]?.state)
    try {
      lists.start()
      await sleep(200)
      assert.equal(proxy.connections, 0)
      assert.deepEqual(stateOf(), ['idle', 'idle'])
      assert.equal((await lists.lookup(recipientOf('user0', 'a.example'))).state, 'found')
      assert.deepEqual(stateOf(), ['up', 'idle'])
      assert.equal(proxy.connections, 1)
    } finally {
      await lists.close()
    }
  })

  test('has one connection while it is idle, none after a while, and is asked again as before', async () => {
    const ldap = { ...LDAP, ...TIMES, url: [serverUrl(`ldap://127.0.0.1:${proxy.port}`)] }
    const options = { isOnDemand: true, idle: 200, restAfter: 2000 }
    const log = recordedLog()
    const directory = new Directory(ldap, [], log, options)
    const ask = () => directory.ask(async () => sleep(50))
    try {
      await ask()
      await until(async () => {
        await Promise.all([ask(), ask(), ask()])
        return proxy.connections === 2
      })
      await until(() => proxy.connections === 1)
      assert.equal(directory.report()[0]?.state, 'up')
      await until(() => proxy.connections === 0)
      assert.equal(directory.report()[0]?.state, 'idle')
      await ask()
      assert.equal(directory.report()[0]?.state, 'up')
      assert.deepEqual(
        log.lines.filter((line) => !/^(debug|info)/.test(line)).map((line) => line.slice(-5)),
        ['is up'],
      )
    } finally {
      await directory.close()
    }
  })

  test('is tried again at once when a recipient is looked up', async () => {
    const ldap = {
      ...LDAP,
      ...TIMES,
      retry_after: { least: 100, most: 600_000 },
      url: [serverUrl(`ldap://127.0.0.1:${proxy.port}`)],
    }
    const list = new LiveList(listDefinition(GAL, ldap), ldap, recordedLog(), { isOnDemand: true })
    const ask = () => list.lookup(recipientOf('user0', 'a.example'))
    try {
      proxy.closePort()
      await ask()
      assert.equal(list.report()[0]?.state, 'down')
      // While nobody asks, it is left alone for longer and longer.
      await sleep(8000)
      await proxy.openPort()
      await until(async () => (await ask()).state === 'found', undefined, 10_000)
    } finally {
      await list.close()
    }
  })

  test('is left as it is when settings of another directory change', async () => {
    const url = `ldap://127.0.0.1:${proxy.port}`
    const directories = directoriesOf({ a: url, b: url })
    const lists = new DirectoryLists(directories, () => recordedLog())
    try {
      lists.start()
      for (const domain of ['a.example', 'b.example'])
        assert.equal((await lists.lookup(recipientOf('user0', domain))).state, 'found')
      const [a, b] = directories.all
      assert.ok(a && b)
      const changed = { ...b, ldap: { ...b.ldap, query_timeout: 1234 } }
      const byDomain = new DomainMap<readonly DirectorySettings[]>()
      for (const one of [a, changed]) for (const to of one.domains) byDomain.set(to, [one])
      const opening = lists.opening({ all: [a, changed], byDomain, otherwise: [], without: [] })
      const retired = lists.replace(atOnce(opening))
      atOnce(lists.starting())
      assert.deepEqual(
        retired.map(({ directory, cache }) => [directory, cache.misses]),
        [['b', 1]],
      )
      const searches = () => lists.report().map(({ servers }) => servers[0]?.searches)
      assert.deepEqual(searches(), [1, 0])
      assert.equal((await lists.lookup(recipientOf('user0', 'b.example'))).state, 'found')
      assert.deepEqual(searches(), [1, 1])
    } finally {
      await lists.close()
    }
  })
})

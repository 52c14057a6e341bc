// Two servers of a directory, one of which has not all that the other has.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { until } from '../support/until'
import { bothWays } from './both-ways'
import { GAL, LDAP, serverUrl, testList } from './lists'

const BASE = 'dc=corp,dc=test'

describe('a replica without one of the attributes', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, () => {
  let provider: Slapd
  let replica: Slapd
  before(async () => {
    provider = await startSlapd({
      entries: ['ann', 'bob'].map((name) => ({
        dn: `cn=${name},${BASE}`,
        mail: `${name}@example.com`,
        proxyAddresses: `smtp:${name}.alias@example.com`,
      })),
    })
    replica = await startSlapd({
      syncprov: false,
      database: [
        `syncrepl rid=1 provider=${provider.url} type=refreshAndPersist retry="1 +"
  searchbase="${BASE}" exattrs=proxyAddresses schemachecking=off
  bindmethod=simple binddn="${provider.bindDn}" credentials=${provider.password}`,
      ],
    })
    const alone = testList({ url: [serverUrl(replica.url)] }, { attributes: ['mail'] })
    try {
      await until(async () => (await alone.ask('ann@example.com')) === 'found')
    } finally {
      await alone.close()
    }
  })
  after(() => Promise.all([provider?.stop(), replica?.stop()]))

  test('nobody is absent on it while the other has that', async () => {
    const list = testList({ url: [serverUrl(provider.url), serverUrl(replica.url)] })
    try {
      list.start()
      await until(() => list.report().servers.every(({ state }) => state === 'up'))
      const given = await Promise.all(
        Array.from({ length: 20 }, () => list.ask('ann.alias@example.com')),
      )
      assert.ok(!given.includes('absent'), given.join())
      await provider.kill()
      await until(() => list.report().servers.some(({ state }) => state === 'down'))
      assert.equal(await list.ask('bob.alias@example.com'), 'unavailable')
      assert.equal(await list.ask('bob@example.com'), 'found')
      const said = list.log.lines.filter((line) => line.includes('is that a partial replica?'))
      assert.equal(said.length, 1, list.log.lines.join('\n'))
    } finally {
      await list.close()
      await provider.restart()
    }
  })

  test('check says which', async () => {
    const url = [serverUrl(provider.url), serverUrl(replica.url)]
    const servers = await probeDirectory(GAL, { ...LDAP, url })
    const problems = servers.map(({ findings }) =>
      findings.filter(({ level }) => level === 'problem').map(({ text }) => text),
    )
    const none = `none has it on ${replica.url}: is that a partial replica?`
    assert.deepEqual(problems, [
      [],
      [
        `proxyAddresses: entries have it on ${provider.url}, and ${none}; unknown recipients are deferred`,
      ],
    ])
  })
})

describe('a replica that has not been filled yet', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, () => {
  const people = ['ann', 'bob', 'cas'].map((name) => ({
    dn: `cn=${name},${BASE}`,
    mail: `${name}@example.com`,
  }))

  /** It has one of them, and its provider is away. */
  const startUnfilled = async (...more: string[]) =>
    startSlapd({
      entries: people.slice(0, 1),
      syncprov: false,
      schema: ['modulepath /usr/lib/ldap', 'moduleload syncprov'],
      database: [
        `syncrepl rid=1 provider=ldap://127.0.0.1:${await freePort()} type=refreshAndPersist
  retry="60 +" searchbase="${BASE}" bindmethod=simple`,
        ...more,
      ],
    })

  test('that reports changes itself', async () => {
    const slapd = await startUnfilled('overlay syncprov')
    try {
      await bothWays(slapd, {
        live: {
          'ann@example.com': 'found',
          'bob@example.com': 'unavailable',
          'no@example.com': 'unavailable',
        },
        log: /warn .*dc=corp,dc=test: it has no contextCSN/,
        check: /problem dc=corp,dc=test: it has no contextCSN/,
      })
    } finally {
      await slapd.stop()
    }
  })

  test('beside another that has all', async () => {
    const servers = await Promise.all([startSlapd({ entries: people }), startUnfilled()])
    const url = servers.map((one) => serverUrl(one.url))
    const list = testList({ url })
    try {
      list.start()
      await until(() => list.report().servers.every(({ state }) => state === 'up'))
      const asked = Array.from({ length: 20 }, () => list.ask('bob@example.com'))
      const given = await Promise.all(asked)
      assert.ok(!given.includes('absent'), given.join())
      const [, other] = await probeDirectory(GAL, { ...LDAP, url })
      const said = other?.findings.filter(({ text }) => text.includes('has no contextCSN as'))
      assert.deepEqual(
        said?.map(({ level }) => level),
        ['problem'],
      )
    } finally {
      await list.close()
      await Promise.all(servers.map((one) => one.stop()))
    }
  })
})

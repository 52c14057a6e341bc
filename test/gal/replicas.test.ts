// Two servers of a directory, one of which has not all that the other has.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { until } from '../support/until'
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

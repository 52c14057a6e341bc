// A directory shows more than before: the account has other rights, which Active Directory judges when it
// binds, or the schema has another attribute. No feed reports it. Nobody is called absent because of what
// was not shown before.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { skipWithoutDs389, startDs389 } from '../support/ds389'
import { skipWithout } from '../support/programs'
import { skipWithoutSamba, startSamba } from '../support/samba'
import { startSlapd } from '../support/slapd'
import { until } from '../support/until'
import {
  type KeepingProcess,
  serverUrl,
  startKeepingProcess,
  type TestList,
  testList,
} from './lists'

const BASE = 'dc=corp,dc=test'
const EVERY = 500
const SKIP = skipWithout('slapd', 'slapadd', 'ldapmodify')

let lists: KeepingProcess
before(() => {
  lists = startKeepingProcess()
})
after(() => lists.stop())

/** A list in memory that looks for changes all the time. */
function memoryList(access: Partial<LdapSettings>, gal: Partial<GalSettings> = {}): TestList {
  const file = lists.newFile()
  return testList(access, { ...gal, mode: 'snapshot' }, { file, changes_every: EVERY })
}

/** Asks once a second, as a quiet server does, until the address is found; it is not called absent before. */
async function becomesKnown(list: TestList, address: string): Promise<void> {
  await until(
    async () => {
      const state = await list.ask(address)
      assert.notEqual(state, 'absent')
      return state === 'found' && (await list.ask('nobody@example.com')) === 'absent'
    },
    () => list.log.lines.join('\n'),
    undefined,
    1000,
  )
}

/** The list in memory is known to leave something out. */
const isDoubted = ({ log }: TestList) =>
  log.lines.some((line) => line.includes('are looked up live'))

describe('a directory shows more than before', { concurrency: true }, () => {
  describe('OpenLDAP', { skip: SKIP, concurrency: 2 }, () => {
    for (const syncprov of [true, false]) {
      test(`an attribute is shown that was hidden, changes by ${syncprov ? 'syncrepl' : 'timestamps'}`, async () => {
        const readers = `cn=readers,${BASE}`
        const group = (member: string) => ({ objectClass: 'groupOfNames', sn: undefined, member })
        const slapd = await startSlapd({
          syncprov,
          access: [`access to attrs=proxyAddresses by group.exact="${readers}" read by * none`],
          entries: [
            { dn: readers, ...group('cn=nobody') },
            { mail: 'ann@example.com', proxyAddresses: 'smtp:a@example.com' },
            'bob@example.com',
          ],
        })
        const kept = memoryList({
          url: [serverUrl(slapd.url)],
          bind_dn: slapd.bindDn,
          bind_password: slapd.password,
        })
        try {
          kept.start()
          await until(() => isDoubted(kept))
          assert.equal(await kept.ask('a@example.com'), 'unavailable')
          await slapd.modify(readers, { member: slapd.bindDn })
          await until(async () => {
            const isCurrent = kept.report().snapshot?.isCurrent === true
            const state = await kept.ask('a@example.com')
            assert.notEqual(state, 'absent')
            return state === 'found' && isCurrent
          })
          await kept.becomes('a@example.com', 'found')
          await kept.becomes('nobody@example.com', 'absent')
        } finally {
          await kept.close()
          await slapd.stop()
        }
      })
    }
  })

  test('a password that has been changed: the connections that there are go on', {
    skip: SKIP,
  }, async () => {
    const slapd = await startSlapd({
      access: ['access to attrs=proxyAddresses by * none'],
      entries: [{ mail: 'ann@example.com', proxyAddresses: 'smtp:a@example.com' }],
    })
    const { url, bindDn: bind_dn, password: bind_password } = slapd
    const access = { url: [serverUrl(url)], bind_dn, bind_password }
    const live = testList(access)
    const kept = memoryList(access)
    try {
      kept.start()
      await until(() => (kept.report().snapshot?.addresses ?? 0) > 0)
      assert.ok(isDoubted(kept))
      assert.equal(await live.ask('nobody@example.com'), 'unavailable')
      await slapd.modify(bind_dn, { userPassword: 'another' })
      await until(async () => {
        assert.equal(await live.ask('ann@example.com'), 'found')
        assert.equal(await live.ask('nobody@example.com'), 'unavailable')
        return live.log.lines.some((line) => /warn .*no new connection: invalid cred/.test(line))
      })
      assert.equal(kept.report().snapshot?.sync?.state, 'following')
      assert.deepEqual(
        kept.log.lines.filter((line) => line.startsWith('error')),
        [],
      )
    } finally {
      await Promise.all([live.close(), kept.close()])
      await slapd.stop()
    }
  })

  describe('389 Directory Server', { skip: skipWithoutDs389() }, () => {
    test('the schema gets another of the default attributes', async () => {
      const person = (name: string, attributes: Record<string, string>) => ({
        dn: `cn=${name},${BASE}`,
        attributes: {
          ...{ objectClass: ['inetOrgPerson', 'extensibleObject'], cn: name, sn: name },
          ...attributes,
        },
      })
      const entries = [person('ann', { mail: 'ann@example.com' })]
      const ds = await startDs389({ isForMail: false, entries })
      const kept = memoryList({
        url: [serverUrl(ds.url)],
        bind_dn: ds.bindDn,
        bind_password: ds.password,
      })
      try {
        kept.start()
        await kept.becomes('ann@example.com', 'found')
        await kept.becomes('a@example.com', 'absent')
        await ds.change(`dn: cn=schema
changetype: modify
add: attributeTypes
attributeTypes: ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
`)
        await ds.modify(`cn=ann,${BASE}`, { proxyAddresses: 'smtp:a@example.com' })
        // What a server can be searched for is looked at once a minute.
        await kept.becomes('a@example.com', 'found', 120_000)
      } finally {
        await kept.close()
        await ds.stop()
      }
    })
  })

  describe('Active Directory', { skip: skipWithoutSamba() }, () => {
    /** The schema's GUID of mail. */
    const MAIL = 'bf967961-0de6-11d0-a285-00aa003049e2'
    const PASSWORD = 'Read3r-Secret!'

    test('an account that leaves the group that an address is hidden from', async () => {
      const samba = await startSamba()
      const person = (name: string) => ({
        dn: `cn=${name},cn=Users,${BASE}`,
        attributes: { objectClass: 'user', sAMAccountName: name, mail: `${name}@example.com` },
      })
      await samba.add(person('ann'), person('bob'))
      const access = {
        url: [serverUrl(`ldaps://${samba.host}:636`)],
        bind_dn: await samba.addAccount('reader', PASSWORD),
        bind_password: PASSWORD,
        tls_ca: samba.ca,
      }
      await samba.hide(
        `cn=bob,cn=Users,${BASE}`,
        MAIL,
        await samba.addGroup('outsiders', ['reader']),
      )
      const live = testList(access, { attributes: ['mail'] })
      const kept = memoryList(access, { attributes: ['mail'] })
      try {
        kept.start()
        await until(() => isDoubted(kept))
        for (const list of [live, kept]) {
          assert.equal(await list.ask('ann@example.com'), 'found')
          assert.equal(await list.ask('bob@example.com'), 'unavailable')
        }
        await samba.modify(`cn=outsiders,cn=Users,${BASE}`, { member: [] })
        await Promise.all([live, kept].map((list) => becomesKnown(list, 'bob@example.com')))
      } finally {
        await Promise.all([live.close(), kept.close()])
        await samba.stop()
      }
    })
  })
})

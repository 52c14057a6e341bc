// Searches in Active Directory do not say what is hidden from an account: they treat it as missing. A recipient
// with a hidden address is not called absent, neither live nor from the list in memory.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { type Samba, skipWithoutSamba, startSamba } from '../support/samba'
import { until } from '../support/until'
import {
  type KeepingProcess,
  serverUrl,
  startKeepingProcess,
  type TestList,
  testList,
} from './lists'

const BASE = 'dc=corp,dc=test'
const PASSWORD = 'Read3r-Secret!'
/** The schema's GUIDs of these attributes. */
const MAIL = 'bf967961-0de6-11d0-a285-00aa003049e2'
const DEPARTMENT = 'bf96794f-0de6-11d0-a285-00aa003049e2'

const person = (name: string, attributes: Record<string, string>) => ({
  dn: `cn=${name},ou=people,${BASE}`,
  attributes: { objectClass: 'user', sAMAccountName: name, ...attributes },
})

describe('what an account may not read in Active Directory', { skip: skipWithoutSamba() }, () => {
  let samba: Samba
  let access: Partial<LdapSettings>
  let lists: KeepingProcess
  before(async () => {
    lists = startKeepingProcess()
    samba = await startSamba()
    await samba.add(
      { dn: `ou=people,${BASE}`, attributes: { objectClass: 'organizationalUnit', ou: 'people' } },
      person('ann', { mail: 'ann@example.com', otherMailbox: 'a@example.com', department: 'it' }),
      person('bob', { mail: 'bob@example.com', proxyAddresses: 'smtp:b@example.com' }),
      person('cas', { mail: 'cas@example.com', department: 'it' }),
    )
    access = {
      url: [serverUrl(`ldaps://${samba.host}:636`)],
      bind_dn: await samba.addAccount('reader', PASSWORD),
      bind_password: PASSWORD,
      tls_ca: samba.ca,
    }
  })
  after(async () => {
    await lists?.stop()
    await samba?.stop()
  })

  async function bothWays(
    gal: Partial<GalSettings>,
    expected: Readonly<Record<string, string>>,
    warning?: RegExp,
    ldap: Partial<LdapSettings> = {},
  ): Promise<void> {
    const live = testList({ ...access, ...ldap }, gal)
    const kept = testList(
      { ...access, ...ldap },
      { ...gal, mode: 'snapshot' },
      { file: lists.newFile(), changes_every: 20_000 },
    )
    const isInForce = ({ report, log }: TestList) =>
      report().snapshot?.isCurrent || log.lines.some((line) => /are looked up live/.test(line))
    try {
      kept.start()
      await until(
        () => isInForce(kept),
        () => kept.log.lines.join('\n'),
      )
      for (const list of [live, kept]) {
        for (const [address, state] of Object.entries(expected)) {
          const answer = await list.answer(address)
          assert.deepEqual([address, answer.state], [address, state], JSON.stringify(answer))
        }
      }
      const said = live.log.lines.filter((line) => line.startsWith('warn'))
      assert.equal(said.length, warning ? 1 : 0, said.join('\n'))
      if (warning) assert.match(said[0] ?? '', warning)
    } finally {
      await Promise.all([live.close(), kept.close()])
    }
  }

  test('everything is shown', () =>
    bothWays(
      { attributes: ['mail', 'proxyAddresses', 'otherMailbox'], filter: '(!(department=sales))' },
      { 'a@example.com': 'found', 'b@example.com': 'found', 'no@example.com': 'absent' },
    ))

  test('an attribute of the filter on one entry', async () => {
    await samba.hide(`cn=cas,ou=people,${BASE}`, DEPARTMENT)
    await bothWays(
      { attributes: ['mail'], filter: '(department=it)' },
      { 'ann@example.com': 'found', 'cas@example.com': 'unavailable' },
      /filter: CN=cas,OU=people,DC=corp,DC=test does not tell this account whether it matches/,
    )
  })

  test('the addresses of one entry, where it has others and where it has none', async () => {
    await samba.hide(`cn=bob,ou=people,${BASE}`, MAIL)
    const warning = /mail: CN=bob,OU=people,DC=corp,DC=test does not tell this account whether/
    for (const [attributes, b] of [
      [['mail', 'proxyAddresses'], 'found'],
      [['mail'], 'unavailable'],
    ] as const) {
      const states = { 'b@example.com': b, 'bob@example.com': 'unavailable' }
      const live = { 'ann@example.com': 'found', ...states, 'no@example.com': 'unavailable' }
      await bothWays({ attributes: [...attributes] }, live, warning)
    }
  })

  test('an attribute that the Global Catalog does not have', () =>
    bothWays(
      { attributes: ['proxyAddresses', 'wWWHomePage'] },
      { 'no@example.com': 'unavailable' },
      /wWWHomePage: it is not marked for the Global Catalog/,
      { url: [serverUrl(`ldaps://${samba.host}:3269`)] },
    ))

  test('a confidential attribute', async () => {
    await samba.makeConfidential('Other-Mailbox')
    const warning = /otherMailbox: .*since it is confidential, Control Access to it/
    const states = { 'b@example.com': 'found', 'a@example.com': 'unavailable' }
    await bothWays({ attributes: ['proxyAddresses', 'otherMailbox'] }, states, warning)
  })
})

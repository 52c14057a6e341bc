// A server that lets the account in and then refuses to be searched: what check says to do.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { skipWithout } from '../support/programs'
import { type SlapdOptions, startSlapd } from '../support/slapd'
import { GAL, LDAP, serverUrl, testList } from './lists'

const BASE = 'dc=corp,dc=test'
const SERVICE = `cn=service,${BASE}`

describe('searches are refused', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify') }, () => {
  async function refused(
    options: SlapdOptions,
    account: Partial<LdapSettings>,
    expected: RegExp,
    prepare: (url: string) => void = () => {},
  ): Promise<void> {
    const slapd = await startSlapd(options)
    try {
      prepare(slapd.url)
      const ldap = { url: [serverUrl(slapd.url)], ...account }
      const list = testList({ ...ldap, answer_within: 1500 })
      assert.equal(await list.ask('ann@example.com'), 'unavailable')
      await list.close()
      const [server] = await probeDirectory(GAL, { ...LDAP, ...ldap })
      const problems = server?.findings.filter(({ level }) => level === 'problem')
      assert.equal(problems?.length, 1)
      assert.match(problems?.[0]?.text ?? '', expected)
    } finally {
      await slapd.stop()
    }
  }
  const entries = ['ann@example.com']

  test('to those who have not bound', () =>
    refused({ schema: ['require authc'], entries }, {}, /authentication required; set bind_dn/))

  test('without TLS', () =>
    refused({ schema: ['security ssf=56'], entries }, {}, /it requires TLS: use ldaps/))

  test('until the password is changed', () =>
    refused(
      {
        schema: ['modulepath /usr/lib/ldap', 'moduleload ppolicy'],
        entries: [
          ...entries,
          { dn: SERVICE, userPassword: 'pw' },
          {
            ...{ dn: `cn=policy,${BASE}`, objectClass: ['device', 'pwdPolicy'], sn: undefined },
            ...{ pwdAttribute: 'userPassword', pwdMustChange: 'TRUE' },
          },
        ],
        database: ['overlay ppolicy', `ppolicy_default cn=policy,${BASE}`],
      },
      { bind_dn: SERVICE, bind_password: 'pw' },
      /password of bind_dn must be changed first/,
      (url) => {
        const reset = `dn: ${SERVICE}\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n\n`
        const admin = ['-D', `cn=admin,${BASE}`, '-w', 'admin-secret']
        execFileSync('ldapmodify', ['-x', '-H', url, ...admin], { input: reset, stdio: 'pipe' })
      },
    ))
})

// What the settings of Haraka's own plugins become.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { importHaraka } from '../../plugins/gal-relay/import/haraka'
import { importedLines, LEFT_OUT, settingsOf, withDirectory } from '../support/imported'

const from = (files: Readonly<Record<string, string>>) =>
  importHaraka((name) => files[name], 'config')
const leftOut = (result: ReturnType<typeof from>) =>
  result.remarks
    .filter(LEFT_OUT)
    .map(({ from, text }) => `${from}: ${text}`)
    .join('\n')

describe('relay', () => {
  const DOMAINS = `[domains]
backup.example = { "action": "accept", "nexthop": "192.0.2.25:25" }
branch.example = { "action": "continue", "nexthop": "192.0.2.26:2525" }
partner.example = { "action": "deny", "nexthop": "192.0.2.27" }
nothing.example = { "action": "deny" }
any = { "action": "deny", "nexthop": "smart.example" }
broken.example = { "action": accept }
`
  const plugins = 'relay\nrcpt_to.in_host_list\nqueue/smtp_forward\n'

  test('its list and its domains, each exact, as in the plugin', () => {
    const result = from({
      plugins,
      'relay.ini': '[relay]\nacl=true\ndest_domains=true\nforce_routing=true\n',
      relay_acl_allow:
        '# ours\n192.168.1.7/24 # printers\n2001:db8:1::/48\n10.0.0.1\n0.0.0.0/0\nexample.com\n10.0.0.0/33\n',
      'relay_dest_domains.ini': DOMAINS,
    })
    assert.deepEqual(importedLines(result), [
      '[routes] @backup.example = always-relay smtp://192.0.2.25:25',
      '[routes] @branch.example = always-relay smtp://192.0.2.26:2525',
      '[routes] @partner.example = forward smtp://192.0.2.27',
      '[restrictions] hosts[] = 192.168.1.0/24',
      '[restrictions] hosts[] = 2001:db8:1::/48',
      '[restrictions] hosts[] = 10.0.0.1',
      // The plugin reads /0 as one host, too.
      '[restrictions] hosts[] = 0.0.0.0',
    ])
    assert.match(leftOut(result), /example\.com: is not an IP address/)
    assert.match(leftOut(result), /33: '33' is not a number of bits/)
    assert.match(leftOut(result), /nothing\.example: needs no row/)
    assert.match(leftOut(result), /any: a smart host/)
    assert.match(leftOut(result), /broken\.example: is not JSON/)
    withDirectory(result)
  })

  test('what is switched off does not count', () => {
    const result = from({
      plugins,
      host_list: 'ours.example\n',
      'relay.ini': '[relay]\nacl=false\ndest_domains=false\nforce_routing=true\n',
      relay_acl_allow: '10.0.0.0/8\n',
      'relay_dest_domains.ini': `${DOMAINS}ours.example = { "action": "accept", "nexthop": "192.0.2.9" }\n`,
    })
    assert.deepEqual(importedLines(result), [
      '[routes] @backup.example = forward smtp://192.0.2.25:25',
      '[routes] @branch.example = forward smtp://192.0.2.26:2525',
      '[routes] @partner.example = forward smtp://192.0.2.27',
    ])
    assert.match(leftOut(result), /relay_acl_allow: .*acl = false/)
    assert.match(leftOut(result), /ours\.example: is in host_list/)
  })

  test('is nothing where config/plugins does not name it, and all = true is no open relay here', () => {
    const files = { 'relay.ini': '[relay]\nall=true\n', relay_acl_allow: '10.0.0.0/8\n' }
    assert.deepEqual(importedLines(from({ ...files, plugins: '# relay\ntls\n' })), [])
    const result = from({ ...files, plugins })
    assert.deepEqual(importedLines(result), ['[restrictions] hosts[] = 10.0.0.0/8'])
    assert.match(result.ini, /^;open = true$/m)
  })
})

test('a value with the end of a line in it is no second line', () => {
  const result = from({
    'relay.ini': '[relay]\ndest_domains=true\n',
    'relay_dest_domains.ini':
      '[domains]\nb.example={"action":"accept","nexthop":"192.0.2.1\\n[restrictions]\\nopen = true"}\n',
  })
  assert.deepEqual(importedLines(result), [])
  assert.match(leftOut(result), /has a control character/)
})

describe('directories', () => {
  const RCPT_LDAP = `server=ldap://127.0.0.1:389
binddn=cn=admin,dc=example,dc=com
bindpw=secret
basedn=dc=example,dc=com
objectclass=qmailUser

[example2.com]
server=ldap://127.0.0.1:389
binddn=cn=admin,dc=example,dc=com
bindpw=secret
basedn=dc=example2,dc=com
objectclass=qmailUser

[example3.com]
server=ldap://elsewhere.example
basedn=dc=example3
`

  test('rcpt_to.ldap: what docs/migrating.md says, and no row without its directory', () => {
    const result = from({ plugins: 'rcpt_to.ldap\n', 'rcpt_to.ldap.ini': RCPT_LDAP })
    const { gal, ldap } = settingsOf(result)
    assert.deepEqual(gal.attributes, ['mail', 'mailAlternateAddress'])
    assert.equal(gal.filter, '(objectClass=qmailUser)')
    assert.deepEqual(ldap?.base, ['dc=example,dc=com', 'dc=example2,dc=com'])
    assert.equal(ldap?.bind_password, 'secret')
    assert.deepEqual(importedLines(result).slice(0, 1), ['[routes] @example2.com = inbound'])
    assert.doesNotMatch(result.ini, /example3/)
    assert.match(leftOut(result), /example3\.com has no row/)
  })

  test('a domain that continues to it is inbound', () => {
    const result = from({
      plugins: 'relay\nrcpt-ldap\n',
      'rcpt_to.ldap.ini': RCPT_LDAP,
      'relay.ini': '[relay]\ndest_domains=true\n',
      'relay_dest_domains.ini':
        '[domains]\nbranch.example={"action":"continue","nexthop":"192.0.2.26:2525"}\n',
    })
    assert.match(result.ini, /^@branch\.example = inbound smtp:\/\/192\.0\.2\.26:2525$/m)
  })

  test('ldap: the part for recipients', () => {
    const result = from({
      plugins: 'ldap\n',
      'ldap.ini': `server[] = ldap://ldap1.corp.example
server[] = ldap2.corp.example
binddn = cn=haraka,ou=services,dc=corp,dc=example
bindpw = secret
basedn = dc=corp,dc=example
tls_enabled = true
timeout = 2000
[rcpt_to]
searchfilter = (&(objectclass=inetOrgPerson)(|(mail=%a)(mailLocalAddress=%a)))
[authn]
searchfilter = (uid=%u)
`,
    })
    const { gal, ldap } = settingsOf(result)
    assert.deepEqual(gal.attributes, ['mail', 'mailLocalAddress'])
    assert.equal(gal.filter, '(objectclass=inetOrgPerson)')
    assert.deepEqual(
      ldap?.url.map(({ text }) => text),
      ['ldap://ldap1.corp.example', 'ldap://ldap2.corp.example'],
    )
    assert.equal(ldap?.query_timeout, 2000)
    assert.equal(ldap?.starttls, true)
    assert.match(leftOut(result), /\[authn\]: does not concern recipients/)
  })
})

test('smtp_forward: hosts of domains that are ours, and of others for outbound mail', () => {
  const result = from({
    plugins: 'queue/smtp_forward\n',
    host_list: 'ours.example\n',
    'smtp_forward.ini': `host=exchange.corp.example
[ours.example]
host=192.0.2.1
port=2525
[other.example]
host=2001:db8::1
enable_outbound=true
[unused.example]
host=192.0.2.3
[ann@ours.example]
host=192.0.2.4
`,
  })
  assert.deepEqual(importedLines(result), [
    '[routes] @ours.example = inbound smtp://192.0.2.1:2525',
    '[routes] @other.example = forward smtp://[2001:db8::1]',
  ])
  assert.match(leftOut(result), /unused\.example/)
  assert.match(leftOut(result), /ann@ours\.example/)
})

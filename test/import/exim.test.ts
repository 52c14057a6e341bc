// What Exim's lists, routers and ACLs become.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { importExim } from '../../plugins/gal-relay/import/exim'
import { importedLines, LEFT_OUT, settingsOf, withDirectory } from '../support/imported'

const from = (text: string, files: Readonly<Record<string, string>> = {}) =>
  importExim(text, (name) => files[name], 'exim.conf')
const leftOut = (result: ReturnType<typeof from>) =>
  result.remarks
    .filter(LEFT_OUT)
    .map(({ from, text }) => `${from}: ${text}`)
    .join('\n')

const CONFIG = `# Exim
CORP = corp.example
LDAP_BASE = dc=corp,dc=example
primary_hostname = mx.example.com
hide ldap_default_servers = ldap1.CORP::1389 : ldap2.CORP
domainlist local_domains = @ : example.com
domainlist relay_to_domains = branch.example : \\
    *.branch.example : \\
    # a comment in between
    lsearch;/etc/exim4/relay_domains
hostlist   relay_from_hosts = <; 127.0.0.1 ; ::1 ; !10.1.1.1 ; 10.0.0.0/8 ; +office ; client.example
hostlist office = 192.168.1.0/24

acl_smtp_rcpt = acl_check_rcpt

begin acl

acl_check_rcpt:
  accept  hosts         = :
  require verify        = sender
  accept  hosts         = +relay_from_hosts
          control       = submission
  accept  authenticated = *
  require message       = relay not permitted
          domains       = +local_domains : +relay_to_domains
  require verify        = recipient
  accept

begin routers

staff:
  driver = redirect
  domains = +local_domains
  data = \${lookup ldap{user="cn=exim,LDAP_BASE" pass=s3cret \\
         ldap:///LDAP_BASE?mailHost?sub?(&(objectClass=inetOrgPerson)(|(mail=\${quote_ldap:$local_part@$domain})(mailAlternateAddress=\${quote_ldap:\${local_part}@\${domain}})))}}

hubbed:
  driver = manualroute
  domains = +relay_to_domains
  transport = remote_smtp
  route_list = Branch.Example hub.CORP::2525 byname; *.branch.example [192.0.2.7]

vpn:
  driver = manualroute
  domains = partner.example
  transport = remote_smtp
  route_data = \${lookup{$domain}lsearch{/etc/exim4/routes}}

smarthost:
  driver = manualroute
  domains = ! +local_domains
  transport = remote_smtp
  route_list = * smart.CORP
  no_more

begin transports

remote_smtp:
  driver = smtp
`

describe('an exim.conf', () => {
  const result = from(CONFIG, {
    '/etc/exim4/relay_domains': 'third.example:\n# no more\n',
    '/etc/exim4/routes': 'partner.example: gw.partner.example\nunrouted.example: x.example\n',
  })

  test('gives rows, clients and the directory', () => {
    assert.deepEqual(
      importedLines(result).filter((line) => !line.includes('[ldap]') && !line.includes('[gal]')),
      [
        '[routes] @mx.example.com = inbound',
        '[routes] @example.com = inbound',
        '[routes] @branch.example = always-relay smtp://hub.corp.example:2525',
        '[routes] branch.example = always-relay smtp://192.0.2.7',
        '[routes] @third.example = always-relay smtp://smart.corp.example',
        '[routes] @partner.example = forward smtp://gw.partner.example',
        '[restrictions] hosts[] = 127.0.0.1',
        '[restrictions] hosts[] = ::1',
        '[restrictions] never[] = 10.1.1.1',
        '[restrictions] hosts[] = 10.0.0.0/8',
        '[restrictions] hosts[] = 192.168.1.0/24',
        '[restrictions] authenticated = true',
      ],
    )
    const { gal, ldap } = settingsOf(result)
    assert.deepEqual(gal.attributes, ['mail', 'mailAlternateAddress'])
    assert.equal(gal.filter, '(&(objectClass=inetOrgPerson)(mailHost=*))')
    assert.deepEqual(
      ldap?.url.map(({ host, port }) => `${host}:${port}`),
      ['ldap1.corp.example:1389', 'ldap2.corp.example:389'],
    )
    assert.deepEqual(ldap?.base, ['dc=corp,dc=example'])
    assert.equal(ldap?.bind_dn, 'cn=exim,dc=corp,dc=example')
    assert.equal(ldap?.bind_password, 's3cret')
  })

  test('and says what has no equal, without the password', () => {
    assert.match(leftOut(result), /client\.example: hosts\[\] takes addresses/)
    assert.match(leftOut(result), /smart\.corp\.example: a smart host/)
    assert.ok(!JSON.stringify(result.remarks).includes('s3cret'))
  })
})

test('a relay domain whose recipients are looked up is inbound, where the ACL verifies them', () => {
  const looked = CONFIG.replace(
    'domains = +local_domains\n',
    'domains = +local_domains : +relay_to_domains\n',
  )
  assert.match(from(looked).ini, /^@branch\.example = inbound smtp:\/\/hub/m)
  const unverified = looked.replace('require verify        = recipient', '')
  assert.match(from(unverified).ini, /^@branch\.example = always-relay smtp:\/\/hub/m)
})

test('hosts that no ACL names may not relay, and * is an open relay', () => {
  const unnamed = from(CONFIG.replace('accept  hosts         = +relay_from_hosts', 'accept'))
  assert.doesNotMatch(unnamed.ini, /^hosts/m)
  const open = from('domainlist local_domains =\nhostlist relay_from_hosts = *\n')
  assert.match(open.ini, /^;open = true$/m)
  assert.equal(withDirectory(open).restrictions.open, false)
})

test('a lookup that cannot be read is said', () => {
  const result = from(CONFIG.replace('ldap:///LDAP_BASE?', 'ldap:///ou=$domain,LDAP_BASE?'))
  assert.match(leftOut(result), /router staff: a base that depends on the address/)
})

// What main.cf and its tables become.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { importPostfix } from '../../plugins/gal-relay/import/postfix'
import { importedLines, LEFT_OUT, settingsOf, withDirectory } from '../support/imported'

const from = (mainCf: string, files: Readonly<Record<string, string>> = {}) =>
  importPostfix(mainCf, (name) => files[name], 'main.cf')

const QUIET =
  'mydestination =\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n'
const LDAP =
  'server_host = ldap1.corp.example ldaps://ldap2.corp.example\nsearch_base = dc=corp,dc=example\nversion = 3\ntls_require_cert = yes\n'

const rows = (result: ReturnType<typeof from>) =>
  importedLines(result).filter((line) => line.startsWith('[routes]'))
const hosts = (result: ReturnType<typeof from>) =>
  importedLines(result).filter((line) => line.startsWith('[restrictions]'))
const leftOut = (result: ReturnType<typeof from>) =>
  result.remarks.filter(LEFT_OUT).map(({ from, text }) => `${from}: ${text}`)

test('domains compare without case', () => {
  const result = from(
    `${QUIET}relay_domains = Branch.Example\nrelay_recipient_maps =\ntransport_maps = hash:/etc/postfix/transport\n`,
    {
      '/etc/postfix/transport':
        'BRANCH.example smtp:[192.0.2.1]\n.branch.Example smtp:[192.0.2.1]\n',
    },
  )
  assert.deepEqual(rows(result), ['[routes] branch.example = always-relay smtp://192.0.2.1'])
})

test('what may let clients relay and has no equal is said', () => {
  const said = leftOut(
    from(
      'mynetworks = 10.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, ours_only,\n' +
        '  check_client_access hash:/etc/postfix/friends, reject_unauth_destination\n',
    ),
  )
  for (const item of ['ours_only', 'check_client_access']) {
    assert.ok(
      said.some((text) => text.startsWith(`smtpd_relay_restrictions: ${item}: `)),
      item,
    )
  }
})

describe('mynetworks', () => {
  test('variables, continued lines, files, brackets and exclusions', () => {
    const result = from(
      `${QUIET}inside = 10.0.0.0/8
# a comment
mynetworks = $inside, ! 192.0.2.1
   \${branch?192.168.5.0/24} \${nothing?1.2.3.4}
  # another comment, in between
   \${nothing:172.16.0.0/12} $(branch) /etc/postfix/networks
   [2001:db8::]/32
branch = 192.168.4.0/24
`.replace('! 192', '!192'),
      { '/etc/postfix/networks': '# ours\n192.168.9.0/24 192.168.10.1\n!192.168.11.1\n' },
    )
    assert.deepEqual(hosts(result), [
      '[restrictions] hosts[] = 10.0.0.0/8',
      '[restrictions] never[] = 192.0.2.1',
      '[restrictions] hosts[] = 192.168.5.0/24',
      '[restrictions] hosts[] = 172.16.0.0/12',
      '[restrictions] hosts[] = 192.168.4.0/24',
      '[restrictions] hosts[] = 192.168.9.0/24',
      '[restrictions] hosts[] = 192.168.10.1',
      '[restrictions] never[] = 192.168.11.1',
      '[restrictions] hosts[] = 2001:db8::/32',
    ])
    withDirectory(result)
  })

  test('an exclusion behind a network that has the client changes nothing, as in Postfix', () => {
    const result = from(`${QUIET}mynetworks = 10.0.0.0/8 !10.1.1.1\n`)
    assert.deepEqual(hosts(result), ['[restrictions] hosts[] = 10.0.0.0/8'])
    assert.match(leftOut(result).join('\n'), /!10\.1\.1\.1 comes after/)
  })

  test('everybody is an open relay, and is not taken', () => {
    const result = from(`${QUIET}mynetworks = 10.0.0.0/8 0.0.0.0/0\n`)
    assert.deepEqual(hosts(result), ['[restrictions] hosts[] = 10.0.0.0/8'])
    assert.match(result.ini, /^;open = true$/m)
  })
})

describe('smtpd_*_restrictions', () => {
  const sasl = 'mydestination =\nmynetworks = 10.0.0.0/8\nsmtpd_sasl_auth_enable = yes\n'
  const cases: readonly [what: string, lines: string, taken: readonly string[], open: boolean][] = [
    ['the defaults', '', ['hosts[] = 10.0.0.0/8', 'authenticated = true'], false],
    [
      'both lists must permit',
      'smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n',
      ['hosts[] = 10.0.0.0/8'],
      false,
    ],
    [
      'what stands behind the refusal counts for nothing',
      'smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination, permit_mynetworks\n',
      ['authenticated = true'],
      false,
    ],
    [
      'the old way, in the recipient list alone',
      'smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_sasl_authenticated reject_unauth_destination\n',
      ['authenticated = true'],
      false,
    ],
    [
      'no refusal at all',
      'smtpd_relay_restrictions =\n',
      ['hosts[] = 10.0.0.0/8', 'authenticated = true'],
      true,
    ],
  ]
  for (const [what, lines, taken, open] of cases) {
    test(what, () => {
      const result = from(sasl + lines)
      assert.deepEqual(
        hosts(result),
        taken.map((line) => `[restrictions] ${line}`),
      )
      assert.equal(/^;open = true$/m.test(result.ini), open)
      assert.equal(withDirectory(result).restrictions.open, false)
    })
  }
})

describe('domains', () => {
  test('of relay without recipient maps, with transports for the domain and below it', () => {
    const result = from(
      `${QUIET}relay_domains = backup.example, hash:/etc/postfix/relay_domains\ntransport_maps = hash:/etc/postfix/transport\n`,
      {
        '/etc/postfix/relay_domains': 'second.example  OK\n',
        '/etc/postfix/transport':
          'backup.example\tsmtp:[192.0.2.1]:2525\n.backup.example relay:[2001:db8::1]\nfar.example :[gw.example]\nlists.example mailman:\n* smtp:[smart.example]\nann@far.example smtp:[x.example]\n',
      },
    )
    assert.deepEqual(rows(result), [
      '[routes] @backup.example = always-relay smtp://192.0.2.1:2525',
      '[routes] backup.example = always-relay smtp://[2001:db8::1]',
      '[routes] second.example = always-relay',
      '[routes] @far.example = forward smtp://gw.example',
    ])
    const left = leftOut(result).join('\n')
    assert.match(left, /transport_maps lists\.example: mailman:: mailman is a program/)
    assert.match(left, /transport_maps \*: .*smart host/)
    assert.match(left, /ann@far\.example/)
    withDirectory(result)
  })

  test('are exact where Postfix has them exact', () => {
    const result = from(
      `${QUIET}virtual_mailbox_domains = a.example\nvirtual_mailbox_maps = hash:/v\nrelay_domains = b.example\nparent_domain_matches_subdomains = smtpd_access_maps\n`,
    )
    assert.deepEqual(rows(result), [
      '[routes] @a.example = inbound',
      '[routes] @b.example = always-relay',
    ])
    assert.match(leftOut(result).join('\n'), /virtual_mailbox_maps: hash:\/v is not a directory/)
  })
})

describe('ldap: tables', () => {
  const maps = `${QUIET}mynetworks = 10.0.0.0/8\nrelay_domains = example.com\nrelay_recipient_maps = proxy:ldap:/etc/postfix/r.cf\n`

  test('become [ldap] and [gal], and the password is in the ini alone', () => {
    const result = from(`${maps}recipient_delimiter = +\n`, {
      '/etc/postfix/r.cf': `${LDAP}query_filter = (&(objectClass=person)(!(hidden=1))(|(mail=%s)(proxyAddresses=smtp:%u@%d)))
result_attribute = uid
start_tls = yes
bind = yes
bind_dn = cn=haraka,
  dc=corp,dc=example
bind_pw = s3;cret #1
`,
    })
    const { gal, ldap } = settingsOf(result)
    assert.deepEqual(gal.attributes, ['mail', 'proxyAddresses'])
    assert.equal(gal.filter, '(&(&(objectClass=person)(!(hidden=1)))(uid=*))')
    assert.equal(gal.recipient_delimiter, '+')
    assert.deepEqual(
      ldap?.url.map(({ text }) => text),
      ['ldap://ldap1.corp.example', 'ldaps://ldap2.corp.example'],
    )
    assert.deepEqual(ldap?.base, ['dc=corp,dc=example'])
    assert.equal(ldap?.bind_dn, 'cn=haraka, dc=corp,dc=example')
    assert.equal(ldap?.bind_password, 's3;cret #1')
    assert.equal(ldap?.starttls, true)
    assert.ok(!JSON.stringify(result.remarks).includes('s3;cret'))
    assert.match(result.ini, /^; .*bind_password_file.*\nbind_password = /m)
  })

  test('a password that an ini cannot hold goes into a file', () => {
    const result = from(maps, {
      '/etc/postfix/r.cf': `${LDAP}query_filter = (mail=%s)\nresult_attribute = mail\nbind_dn = cn=a,dc=b\nbind_pw = ends-in\\\n`,
    })
    assert.match(result.ini, /^bind_password_file = gal_relay\.password$/m)
    assert.ok(!result.ini.includes('ends-in'))
    assert.ok(!JSON.stringify(result.remarks).includes('ends-in'))
  })

  test('of main.cf itself, and of a second server, which is left out', () => {
    const result = from(
      `${maps.replace('proxy:ldap:/etc/postfix/r.cf', 'ldap:first')}first_server_host = localhost:1389
first_search_base = o=one
first_query_filter = (mail=%s)
first_result_attribute = mail
first_version = 3
virtual_alias_maps = ldap:/etc/postfix/other.cf
`,
      { '/etc/postfix/other.cf': `${LDAP}query_filter = (mail=%s)\n` },
    )
    assert.deepEqual(
      settingsOf(result).ldap?.url.map(({ text }) => text),
      ['ldap://localhost:1389'],
    )
    assert.match(leftOut(result).join('\n'), /other\.cf: uses another server or account/)
  })

  for (const [filter, why] of [
    ['(uid=%u)', /compares no attribute with the whole address/],
    ['(mail=*%s*)', /compares no attribute with the whole address/],
    ['(objectClass=person)', /does not look for the address/],
    ['(&(mail=%s)(dom=%d))', /in several ways at once/],
    ['(mail=%s', /is not a search filter/],
  ] as const) {
    test(`${filter} has no equal`, () => {
      const result = from(maps, { '/etc/postfix/r.cf': `${LDAP}query_filter = ${filter}\n` })
      assert.match(leftOut(result).join('\n'), why)
      assert.doesNotMatch(result.ini, /^attributes/m)
    })
  }

  test('two of one server are one directory', () => {
    const result = from(
      `${maps}virtual_mailbox_domains = v.example\nvirtual_mailbox_maps = ldap:/v.cf\n`,
      {
        '/etc/postfix/r.cf': `${LDAP}query_filter = (&(objectClass=person)(mail=%s))\nresult_attribute = mail\n`,
        '/v.cf': `${LDAP.replace('dc=corp', 'dc=other')}query_filter = (&(objectClass=group)(mail=%s))\nresult_attribute = mail\n`,
      },
    )
    const { gal, ldap } = settingsOf(result)
    assert.equal(gal.filter, '(|(objectClass=person)(objectClass=group))')
    assert.deepEqual(ldap?.base, ['dc=corp,dc=example', 'dc=other,dc=example'])
  })
})

// `gal-relay import`: what it prints where, how it finds out what it is given, and what it says of
// sources that it cannot use.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, test } from 'node:test'
import { loadCommand } from '../support/command'
import { settingsOf } from '../support/imported'

const { runCommand, runJson } = loadCommand()

const folder = mkdtempSync(path.join(tmpdir(), 'import-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const write = (name: string, content: string | Buffer) => {
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
  writeFileSync(path.join(folder, name), content)
}

const REG = `Windows Registry Editor Version 5.00\r
\r
[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\MSExchangeIMC\\Parameters]\r
"RelayFlags"=dword:00000002\r
"RelayAllowList"=hex(7):31,00,30,00,2e,00,31,00,2e,00,32,00,2e,00,33,00,00,00,\\\r
  00,00\r
`
write('exchange/ims.reg', Buffer.from(`\ufeff${REG}`, 'utf16le'))
write('exchange/routing.txt', 'Sent to\tRoute to\r\nexample.com\t<inbound>\r\n')
write(
  'postfix/main.cf',
  'mydestination =\nmynetworks = 10.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks reject_unauth_destination\nrelay_domains = example.com\ntransport_maps = hash:/etc/postfix/transport\nrelay_recipient_maps = ldap:/etc/postfix/ldap/r.cf\n',
)
write('postfix/transport', 'example.com smtp:[192.0.2.1]\n.example.com smtp:[192.0.2.1]\n')
write(
  'postfix/ldap/r.cf',
  'server_host = dc1.corp.example\nsearch_base = dc=corp\nquery_filter = (mail=%s)\nresult_attribute = mail\nversion = 3\nbind_dn = cn=a,dc=corp\nbind_pw = Pa55-word!\n',
)
write(
  'exim/exim4.conf',
  'hostlist relay_from_hosts = 10.0.0.0/8\ndomainlist relay_to_domains = b.example\n',
)
write('haraka/config/plugins', 'relay\n')
write('haraka/config/smtp.ini', '')
write('haraka/config/relay_acl_allow', '10.0.0.0/8\n')
write('other/notes.txt', 'nothing of mail\n')
write('binary', Buffer.from([0, 255, 254, 1, 2]))
mkdirSync(path.join(folder, 'empty'))

interface Answer {
  readonly from: string
  readonly ini: string
  readonly remarks: readonly {
    readonly outcome: string
    readonly from: string
    readonly text: string
  }[]
}

const options = { cwd: folder }

describe('gal-relay import', () => {
  for (const [source, kind] of [
    ['exchange/ims.reg', 'ims'],
    ['exchange', 'ims'],
    ['postfix', 'postfix'],
    ['postfix/main.cf', 'postfix'],
    ['exim', 'exim'],
    ['exim/exim4.conf', 'exim'],
    ['haraka', 'haraka'],
    ['haraka/config', 'haraka'],
  ] as const) {
    test(`finds out that ${source} is of ${kind}, as when it is told so`, async () => {
      const { code, json } = await runJson<Answer>(['import', source], options)
      const told = await runJson<Answer>(['import', source, '--from', kind], options)
      assert.deepEqual([json.from, code], [kind, told.code])
      assert.deepEqual(json, told.json)
      assert.ok(json.remarks.some(({ outcome }) => outcome === 'taken'))
      assert.match(json.ini, /^hosts\[\] = 10\./m)
    })
  }

  test('a folder of IMS is its restrictions and its routing table', async () => {
    const { stdout } = await runCommand(['import', 'exchange'], options)
    assert.match(stdout, /^example\.com = inbound$/m)
    assert.match(stdout, /^hosts\[\] = 10\.1\.2\.3$/m)
  })

  test('prints the ini, and on standard error what was taken; the password in the ini alone', async () => {
    const { code, stdout, stderr } = await runCommand(['import', 'postfix'], options)
    assert.equal(code, 0, stderr)
    assert.equal(settingsOf({ ini: stdout }).ldap?.bind_password, 'Pa55-word!')
    assert.match(stdout, /^example\.com = inbound smtp:\/\/192\.0\.2\.1$/m)
    assert.ok(!stderr.includes('Pa55'), stderr)
    for (const line of stderr.trimEnd().split('\n'))
      assert.match(line, /^(taken|differs|left out) +\S/)
    assert.match(stderr, /^taken +mynetworks: \[restrictions\] hosts\[\] = 10\.0\.0\.0\/8$/m)
    const listed = (stdout.match(/^[^;[\n].*$/gm) ?? []).length
    assert.equal((stderr.match(/^taken /gm) ?? []).length, listed)
  })

  for (const [what, args, sentence] of [
    ['no such file', ['nowhere.reg'], /^there is no file or folder nowhere\.reg\n$/],
    ['an empty folder', ['empty'], /^empty contains no known configuration; .*--from ims\|postfix/],
    ['a file of no kind', ['other/notes.txt'], /^other\/notes\.txt is of no known kind/],
    ['bytes', ['binary'], /^binary is of no known kind/],
    [
      'another kind than is said',
      ['exchange/ims.reg', '--from', 'postfix'],
      /nothing of postfix in it; it looks like ims/,
    ],
    [
      'a folder of another kind',
      ['haraka', '--from', 'exim'],
      /^haraka has no exim4\.conf or exim\.conf/,
    ],
    [
      'one file of Haraka',
      ['haraka/config/plugins', '--from', 'haraka'],
      /takes the install's folder/,
    ],
    [
      'an unknown kind',
      ['postfix', '--from', 'sendmail'],
      /Allowed choices are ims, postfix, exim, haraka/,
    ],
    ['nothing', [], /missing required argument 'source'/],
  ] as const) {
    test(`${what}: a sentence, exit code 2, and no ini`, async () => {
      const { code, stdout, stderr } = await runCommand(['import', ...args], options)
      assert.equal(code, 2)
      assert.equal(stdout, '')
      assert.match(stderr, sentence)
      assert.doesNotMatch(stderr, /^\s+at /m)
    })
  }

  test('a file of many empty lines is read at once', { timeout: 60_000 }, async () => {
    const file = path.join(folder, 'empty-lines')
    writeFileSync(file, '\n'.repeat(500_000))
    const { code, stderr } = await runCommand(['import', file], options)
    assert.equal(code, 2)
    assert.match(stderr, /is of no known kind/)
    rmSync(file)
  })

  test('writes no file', () => {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    assert.deepEqual(
      files.filter((file) => file.includes('gal_relay')),
      [],
    )
  })
})

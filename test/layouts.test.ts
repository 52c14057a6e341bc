// Directories laid out as certain mail systems make them: the configuration that each page of docs/
// shows answers as the page's table says, by looking up and from the list in memory.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { after, before, describe, test } from 'node:test'
import { serverUrl, testList } from './gal/lists'
import { type CertificateAuthority, makeAuthority } from './support/certificates'
import { blocksOf, type Replacements, readPage, real, wholeOf } from './support/docs'
import { type Ds389, skipWithoutDs389, startDs389 } from './support/ds389'
import type { Haraka } from './support/haraka'
import * as layouts from './support/layouts'
import type { Attributes } from './support/ldif'
import { skipWithout } from './support/programs'
import { sharedHaraka } from './support/shared-haraka'
import { type SlapdOptions, startSlapd } from './support/slapd'
import { connectSmtp } from './support/smtp'

const BASE = 'dc=corp,dc=example'
const PASSWORD = layouts.PASSWORD

/** The rows of a page's table: what is answered to which recipient. */
function tableOf(page: string): [address: string, isAccepted: boolean][] {
  const rows = readPage(`docs/${page}`).matchAll(/^\| `(\S+@\S+)` \|.*\| (accepted|unknown) \|$/gm)
  const table = [...rows].map(([, address = '', answer]): [string, boolean] => [
    address,
    answer === 'accepted',
  ])
  assert.ok(table.length > 6 && table.some(([, isAccepted]) => !isAccepted), page)
  return table
}

/** All of them in one connection: each RCPT is answered for itself. */
async function answersAs(
  haraka: Haraka,
  expected: readonly (readonly [address: string, isAccepted: boolean])[],
): Promise<void> {
  const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
  const smtp = await connectSmtp({ port: haraka.port, proxy })
  try {
    await smtp.command('EHLO mail.isp.example')
    await smtp.command('MAIL FROM:<news@shop.example>')
    for (const [address, isAccepted] of expected) {
      const { line } = await smtp.command(`RCPT TO:<${address}>`)
      assert.match(line, isAccepted ? /^250/ : /^550 5\.1\.1/, `${address}\n${haraka.log()}`)
      // Compared without case
      const again = await smtp.command(`RCPT TO:<${address.toUpperCase()}>`)
      assert.equal(again.line.slice(0, 3), line.slice(0, 3), `${address} in upper case`)
    }
  } finally {
    await smtp.quit()
  }
}

interface Way {
  readonly ini: string
  readonly files: Readonly<Record<string, string>>
  readonly expected: readonly (readonly [string, boolean])[]
  /** How changes reach the list. */
  readonly feed?: string
}

const shared = sharedHaraka({})
after(() => shared.stop())

const live = ({ ini, files, expected }: Way) =>
  shared.with(ini, undefined, (haraka) => answersAs(haraka, expected), files)

/** @param stopDirectory known recipients are known without it */
const snapshot = async (
  { ini, files, expected, feed = 'syncrepl' }: Way,
  stopDirectory?: () => Promise<void>,
) => {
  const snapshotIni = ini.replace('[gal]\n', '[gal]\nmode = snapshot\n')
  assert.notEqual(snapshotIni, ini)
  const use = async (haraka: Haraka) => {
    assert.match(await haraka.waitForLog(/the list is in force/), new RegExp(feed))
    await answersAs(haraka, expected)
    if (!stopDirectory) return
    await stopDirectory()
    await answersAs(
      haraka,
      expected.filter(([, isAccepted]) => isAccepted),
    )
  }
  await shared.with(snapshotIni, undefined, use, files)
}

describe('layouts in OpenLDAP', { skip: skipWithout('slapd', 'slapadd', 'openssl') }, () => {
  let authority: CertificateAuthority
  before(() => {
    authority = makeAuthority()
  })
  after(() => authority?.remove())

  async function runs(
    page: string,
    options: SlapdOptions,
    servers: readonly string[],
    feed = 'syncrepl',
  ): Promise<void> {
    const slapd = await startSlapd({ suffix: BASE, tls: authority.issue(), ...options })
    let isStopped = false
    const stop = async () => {
      if (!isStopped) await slapd.stop()
      isStopped = true
    }
    try {
      const [first = '', ...others] = servers
      const whole = wholeOf(page)
      const ini = real(whole, [
        [`${first}\n`, `${slapd.url}\n`],
        ...others.map((url) => [`${url}\n`, 'ldap://127.0.0.1:1\n'] as const),
      ])
      const [, ca = ''] = /^tls_ca = (.*)$/m.exec(whole) ?? []
      const files = {
        'config/gal_relay.password': `${PASSWORD}\n`,
        [`config/${ca}`]: readFileSync(authority.ca, 'utf8'),
      }
      const way = { ini, files, expected: tableOf(page), feed }
      await live(way)
      await snapshot(way, stop)
    } finally {
      await stop()
    }
  }

  test('zimbra.md', () =>
    runs(
      'zimbra.md',
      layouts.zimbra(tmpdir()),
      ['ldap://ldap1.corp.example', 'ldap://ldap2.corp.example'],
      // The account may not read what syncrepl goes by.
      'timestamps',
    ))

  test('univention.md', () =>
    runs(
      'univention.md',
      // As UCS has it
      { ...layouts.univention(BASE), syncprov: false },
      ['ldap://ucs1.corp.example:7389', 'ldap://ucs2.corp.example:7389'],
      'timestamps',
    ))

  test('iredmail.md', () =>
    runs('iredmail.md', layouts.iredmail(BASE), ['ldap://mail.corp.example']))

  test('sendmail.md', () =>
    runs('sendmail.md', layouts.sendmail(BASE), [
      'ldap://ldap1.corp.example',
      'ldap://ldap2.corp.example',
    ]))
})

describe('layouts in 389 Directory Server', { skip: skipWithoutDs389() }, () => {
  let ds: Ds389
  before(async () => {
    ds = await startDs389({
      schema: layouts.KOLAB_SCHEMA,
      // Fewer than there are: the accounts' own limits must do.
      config: { 'nsslapd-sizelimit': '2' },
      entries: [
        ...layouts.freeipa('ou=ipa,dc=corp,dc=test'),
        ...layouts.kolab('ou=kolab,dc=corp,dc=test'),
      ],
    })
  })
  after(() => ds?.stop())

  const files = { 'config/gal_relay.password': `${PASSWORD}\n` }
  const replacements = (top: string, ...urls: string[]): Replacements => [
    // It has no TLS here.
    [/^tls_ca = .*\n/m.exec(wholeOf(top === 'ipa' ? 'freeipa.md' : 'kolab.md'))?.[0] ?? '', ''],
    [`${urls[0]}\n`, `${ds.url}\n`],
    ...urls.slice(1).map((url) => [`${url}\n`, 'ldap://127.0.0.1:1\n'] as const),
    ['dc=corp,dc=example', `ou=${top},${ds.base}`],
    ['something long and random', PASSWORD],
  ]

  test('freeipa.md: the account, the configuration, and its parts', async () => {
    const texts = replacements('ipa', 'ldaps://ipa1.corp.example', 'ldaps://ipa2.corp.example')
    const [account] = blocksOf('docs/freeipa.md').filter(({ language }) => language === 'ldif')
    await ds.change(real(account?.text ?? '', texts))
    const ini = real(wholeOf('freeipa.md'), texts)
    const expected = tableOf('freeipa.md')
    const way = { ini, files, expected }
    await live(way)
    await snapshot(way)

    const [locked, further, ...others] = blocksOf('docs/freeipa.md').filter(
      ({ language, text }) => language === 'ini' && !text.includes('[ldap]'),
    )
    assert.ok(locked && further && others.length === 0)
    const [filter = ''] = /^filter = .*\n/m.exec(locked.text) ?? []
    const both = {
      files,
      ini: ini.replace('[gal]\nattributes[] = mail\n', further.text + filter),
      expected: [
        ...expected.filter(([address]) => address !== 'bob@example.com'),
        ['bob@example.com', false] as const,
        ['alternate@example.com', true] as const,
      ],
    }
    assert.notEqual(both.ini, ini)
    await live(both)
    await snapshot(both)
  })

  test('attributes for which the schema names no rule are found as the server compares them', async () => {
    const ldap = { url: [serverUrl(ds.url)], bind_dn: ds.bindDn, bind_password: ds.password }
    // A directory string, which compares without case, and an IA5 string, which compares with it
    const attributes = ['mail', 'mailAlternateAddress', 'mgrpErrorsTo']
    const base = 'ou=ruleless,dc=corp,dc=test'
    await ds.add({ dn: base, attributes: { objectClass: 'organizationalUnit', ou: 'ruleless' } })
    const add = (cn: string, values: Attributes) =>
      ds.add({
        dn: `cn=${cn},${base}`,
        attributes: { objectClass: ['organizationalRole', 'mailGroup'], cn, ...values },
      })
    await add('one', { mail: 'one@example.com' })
    const lists = ['held by nobody', 'held'].map(() =>
      testList({ ...ldap, base: [base] }, { attributes }),
    )
    try {
      for (const list of lists) {
        const absent = ['nobody@example.com', 'NOBODY@example.com']
        for (const address of absent) assert.equal(await list.ask(address), 'absent', address)
        if (list === lists[0]) {
          await add('two', { mailAlternateAddress: 'two@example.com' })
          await add('three', { mgrpErrorsTo: 'three@example.com' })
        }
        for (const name of ['one', 'two', 'TWO', 'three', 'THREE', 'Three']) {
          assert.equal(await list.ask(`${name}@example.com`), 'found', name)
        }
      }
    } finally {
      for (const list of lists) await list.close()
    }
  })

  test('kolab.md', async () => {
    const texts = replacements('kolab', 'ldaps://kolab.corp.example')
    const way = { ini: real(wholeOf('kolab.md'), texts), files, expected: tableOf('kolab.md') }
    await live(way)
    await snapshot(way)
  })
})

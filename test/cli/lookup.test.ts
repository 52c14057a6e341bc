// `gal-relay lookup`: which entry has the address, on real directories.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runCommand, runJson } from '../support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { writeInstall } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SlapdEntry, startSlapd } from '../support/slapd'

interface Entry {
  readonly dn: string
  readonly attribute: string | null
  readonly value: string | null
  readonly authenticated_only: boolean
  readonly hidden: boolean
  readonly disabled: boolean
}

interface Answer {
  readonly found: boolean | null
  readonly live: {
    readonly state: string
    readonly reason: string | null
    readonly address: string
    readonly server: string | null
    readonly milliseconds: number | null
    readonly entries: readonly Entry[]
  }
}

const ENTRIES: readonly SlapdEntry[] = [
  {
    dn: 'uid=alice,dc=corp,dc=test',
    mail: 'alice.primary@example.com',
    proxyAddresses: ['SMTP:alice.primary@example.com', 'smtp:Alice@Example.COM'],
  },
  {
    dn: 'uid=board,dc=corp,dc=test',
    mail: 'board@example.com',
    msExchRequireAuthToSendTo: 'TRUE',
    msExchHideFromAddressLists: 'TRUE',
    userAccountControl: '514',
  },
  { dn: 'uid=one,dc=corp,dc=test', mail: 'twice@example.com' },
  { dn: 'uid=two,dc=corp,dc=test', proxyAddresses: 'smtp:twice@example.com' },
]

for (const { name, start, skip } of [
  { name: 'embedded LDAP directory', start: () => startEmbeddedLdap(ENTRIES), skip: false },
  {
    name: 'slapd',
    start: () => startSlapd({ entries: ENTRIES }),
    skip: skipWithout('slapd', 'slapadd'),
  },
]) {
  describe(`lookup with ${name}`, { skip }, () => {
    let ldap: Pick<EmbeddedLdap, 'url' | 'base' | 'stop'>
    let root: string
    before(async () => {
      ldap = await start()
      root = mkdtempSync(path.join(tmpdir(), 'install-'))
      configure(ldap.url)
    })
    after(async () => {
      await ldap.stop()
      rmSync(root, { recursive: true, force: true })
    })

    const configure = (url: string) => {
      const directory = `[ldap]\nurl[] = ${url}\nbase = ${ldap.base}\n`
      writeInstall(root, [25], { ini: `[gal]\nrecipient_delimiter = +\n${directory}` })
    }
    const lookup = (address: string) => runJson<Answer>(['lookup', address, '--config', root])

    test('the entry, and the value as it stands there', async () => {
      const { code, json } = await lookup('ALICE@example.com')
      assert.equal(code, 0)
      assert.equal(json.found, true)
      assert.equal(json.live.server, ldap.url)
      assert.ok(Number(json.live.milliseconds) > 0)
      assert.deepEqual(json.live.entries, [
        {
          dn: 'uid=alice,dc=corp,dc=test',
          attribute: 'proxyAddresses',
          value: 'smtp:Alice@Example.COM',
          authenticated_only: false,
          hidden: false,
          disabled: false,
        },
      ])
    })

    test('flags', async () => {
      const { json } = await lookup('board@example.com')
      const [entry] = json.live.entries
      assert.deepEqual(
        [entry?.authenticated_only, entry?.hidden, entry?.disabled],
        [true, true, true],
      )
      const { code, stdout } = await runCommand(['lookup', 'board@example.com', '--config', root])
      assert.equal(code, 0)
      assert.match(
        stdout,
        /^board@example\.com is in the directory\n {2}server {5}ldap:.*\n {2}time .* ms\n {2}entry {6}uid=board,dc=corp,dc=test\n {2}attribute {2}mail: board@example\.com\n {2}flags {6}takes mail from authenticated senders only, hidden from address lists, disabled account\n$/,
      )
    })

    test('an address that two entries have', async () => {
      const { json } = await lookup('twice@example.com')
      const names = json.live.entries.map(({ dn }) => dn)
      assert.deepEqual(
        new Set(names),
        new Set(['uid=one,dc=corp,dc=test', 'uid=two,dc=corp,dc=test']),
      )
    })

    test('a sub-address is found as its user', async () => {
      const { code, json } = await lookup('alice+news@example.com')
      assert.equal(code, 0)
      assert.equal(json.live.address, 'alice@example.com')
    })

    test('not there: exit code 1', async () => {
      const { code, json } = await lookup('nobody@example.com')
      assert.equal(code, 1)
      assert.equal(json.found, false)
      assert.deepEqual(json.live.entries, [])
      const { stdout } = await runCommand(['lookup', 'nobody@example.com', '--config', root])
      assert.match(stdout, /^nobody@example\.com is not in the directory\n/)
    })

    test('no address, or no directory: exit code 2', async () => {
      for (const address of ['alice', 'a@b@c', '']) {
        const { code, stderr } = await runCommand(['lookup', address, '--config', root])
        assert.equal(code, 2)
        assert.match(stderr, /is no mail address: (501 .*|it has no domain)\n$/)
      }
      configure(`ldap://127.0.0.1:${await freePort()}`)
      const { code, json } = await lookup('alice@example.com')
      configure(ldap.url)
      assert.equal(code, 2)
      assert.equal(json.found, null)
      assert.match(String(json.live.reason), /ECONNREFUSED/)
    })
  })
}

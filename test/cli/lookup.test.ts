// `gal-relay lookup`: which entry has the address, on real directories.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommand } from '../support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { writeInstall } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SlapdEntry, startSlapd } from '../support/slapd'

const { runCommand, runJson } = loadCommand()

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

    test('several, or those on standard input: a line for each, and the worst exit code', async () => {
      const run = (addresses: readonly string[], input = '') =>
        runCommand(['lookup', ...addresses, '--config', root], { input })
      const some = await run(['alice@example.com', 'nobody@example.com'])
      assert.equal(some.code, 1)
      assert.match(
        some.stdout,
        /^found {4}alice@example\.com {2}uid=alice,dc=corp,dc=test\nabsent {3}nobody@example\.com\n$/,
      )
      const read = await run(['-'], 'alice@example.com\r\n\nboard@example.com')
      assert.deepEqual([read.code, read.stderr], [0, ''])
      assert.match(read.stdout, /^found {4}alice@.*\nfound {4}board@.*\n$/)
      const wrong = await run(['alice@example.com', 'alice', '-'], 'nobody@example.com\n')
      assert.equal(wrong.code, 2)
      assert.match(
        wrong.stdout,
        /^found .*\nunknown {2}alice {2}'alice' is not a mail address: .*\nabsent .*\n$/,
      )
      const none = await run(['-'])
      assert.deepEqual(
        [none.code, none.stdout, none.stderr],
        [2, '', 'there are no addresses on standard input\n'],
      )
    })

    test('many, in order, as one JSON object', async () => {
      const addresses = Array.from({ length: 50 }, (_, i) =>
        i % 3 === 0 ? 'alice@example.com' : `nobody-${i}@example.com`,
      )
      const { stdout, code } = await runCommand(['lookup', '-', '--json', '--config', root], {
        input: addresses.join('\n'),
      })
      assert.equal(code, 1)
      const { addresses: told } = JSON.parse(stdout) as {
        readonly addresses: readonly (Answer & { readonly address: string })[]
      }
      assert.deepEqual(
        told.map(({ address, found }) => [address, found]),
        addresses.map((address, i) => [address, i % 3 === 0]),
      )
      assert.equal(told[0]?.live.entries[0]?.dn, 'uid=alice,dc=corp,dc=test')
    })

    test('in snapshot mode: what is stale', async () => {
      const file = path.join(root, 'list.snapshot')
      const all = `[gal]\nmode = snapshot\n[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n[snapshot]\nfile = ${file}\n`
      try {
        writeInstall(root, [25], { ini: all })
        const before = await runCommand(['lookup', 'alice@example.com', 'x@y.test'], { cwd: root })
        assert.match(before.stdout, /^found .* no list: there is none yet\n/)
        assert.equal((await runCommand(['sync'], { cwd: root })).code, 0)
        const now = await runCommand(['lookup', 'alice@example.com', 'x@y.test'], { cwd: root })
        assert.match(
          now.stdout,
          /^found {4}alice@example\.com {2}uid=alice,dc=corp,dc=test\nabsent .*\n$/,
        )
        // The directory cannot be asked, and the list says what it knows.
        const away = all.replace(ldap.url, `ldap://127.0.0.1:${await freePort()}`)
        writeInstall(root, [25], { ini: away })
        const listed = await runCommand(['lookup', 'alice@example.com', 'x@y.test'], { cwd: root })
        assert.equal(listed.code, 2)
        assert.match(
          listed.stdout,
          /^unknown {2}alice@example\.com {2}.*ECONNREFUSED.* {2}the list has it\nunknown .* {2}the list does not have it\n$/,
        )
      } finally {
        configure(ldap.url)
      }
    })

    test('no address, or no directory: exit code 2', async () => {
      for (const address of ['alice', 'a@b@c', '']) {
        const { code, stderr } = await runCommand(['lookup', address, '--config', root])
        assert.equal(code, 2)
        assert.match(stderr, /is not a mail address: (501 .*|it has no domain)\n$/)
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

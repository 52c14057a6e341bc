// `gal-relay sync` against a real directory: the list is read, put in force, and what changed is counted;
// `lookup` and `check` know of it, and a running Haraka takes it.
import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadCommandAfterFirst } from '../support/command'
import { startHaraka, writeInstall } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd, unitEntry } from '../support/slapd'
import { connectSmtp } from '../support/smtp'

const { runCommand, runJson } = loadCommandAfterFirst()

interface Result {
  readonly server: string
  readonly feed: string
  readonly entries: number
  readonly recipients: number
  readonly before: { readonly count: number } | null
  readonly added: number
  readonly removed: number
  readonly file: string
}

const PEOPLE = 200
const address = (n: number) => `person${n}@example.com`

describe('sync', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify') }, () => {
  let slapd: Slapd
  let root: string
  let file: string
  before(async () => {
    const entries = Array.from({ length: PEOPLE }, (_, n) => address(n))
    slapd = await startSlapd({ entries })
    root = mkdtempSync(path.join(tmpdir(), 'install-'))
    file = path.join(root, 'gal_relay.snapshot')
    configure(ini())
  })
  after(async () => {
    await slapd.stop()
    rmSync(root, { recursive: true, force: true })
  })

  const ini = (url = slapd.url, base = slapd.base) =>
    `[routes]\nexample.com = inbound\n[gal]\nmode = snapshot\n[ldap]\nurl[] = ${url}\nbase = ${base}\n`
  const configure = (text: string) => writeInstall(root, [25], { ini: text })
  const sync = (...args: string[]) => runJson<Result>(['sync', ...args, '--config', root])

  test('an attribute by another of its names: who was there before is not counted as new', async () => {
    const install = mkdtempSync(path.join(tmpdir(), 'install-'))
    const text = ini().replace('[ldap]', 'attributes[] = rfc822Mailbox\n[ldap]')
    writeInstall(install, [25], { ini: text })
    try {
      const again = () => runJson<Result>(['sync', '--config', install])
      const first = await again()
      const { json } = await again()
      assert.equal(json.recipients, first.json.recipients)
      assert.deepEqual([json.added, json.removed], [0, 0])
    } finally {
      rmSync(install, { recursive: true, force: true })
    }
  })

  test('the first list, and then what changed', async () => {
    const first = await sync()
    assert.equal(first.code, 0)
    assert.equal(first.json.server, slapd.url)
    assert.equal(first.json.feed, 'syncrepl')
    assert.equal(first.json.entries, PEOPLE)
    assert.equal(first.json.recipients, PEOPLE)
    assert.equal(first.json.before, null)
    assert.deepEqual([first.json.added, first.json.removed], [PEOPLE, 0])
    assert.equal(first.json.file, file)
    assert.equal(statSync(file).mode & 0o777, 0o600)

    await slapd.add('new1@example.com', 'new2@example.com', 'new3@example.com')
    await slapd.delete(slapd.dnOf(address(7)))
    const { json } = await sync()
    assert.equal(json.recipients, PEOPLE + 2)
    assert.equal(json.before?.count, PEOPLE)
    assert.deepEqual([json.added, json.removed], [3, 1])
  })

  test('a server that has lost its entries is passed over for the next', async () => {
    const empty = await startSlapd()
    try {
      configure(ini(`${empty.url}\nurl[] = ${slapd.url}`))
      const { code, json } = await sync()
      assert.equal(code, 0)
      assert.equal(json.server, slapd.url)
      configure(ini(`${empty.url}\nurl[] = ldap://127.0.0.1:${await freePort()}`))
      const refused = await runCommand(['sync', '--config', root])
      assert.equal(refused.code, 1)
      assert.match(refused.stderr, /^the list was refused: .*no recipients at all/)
    } finally {
      configure(ini())
      await empty.stop()
    }
  })

  test('what root writes belongs to whom the folder belongs', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async () => {
    const nobody = 65534
    rmSync(file)
    chownSync(root, nobody, nobody)
    const refused = await runCommand(['sync', '--config', root])
    assert.equal(refused.code, 2)
    assert.match(
      refused.stderr,
      /belongs to user 65534, who is neither root nor the user that Haraka/,
    )
    chownSync(path.join(root, 'config'), nobody, nobody)
    await sync()
    assert.deepEqual([statSync(file).uid, statSync(file).gid], [nobody, nobody])
  })

  test('lookup says what the snapshot has', async () => {
    await slapd.add('latest@example.com')
    const look = async (one: string) => {
      const { json } = await runJson<{ found: boolean; snapshot: { state: string } }>([
        ...['lookup', one, '--config', root],
      ])
      return [json.found, json.snapshot.state]
    }
    assert.deepEqual(await look(address(1)), [true, 'found'])
    assert.deepEqual(await look(address(7)), [false, 'absent'])
    assert.deepEqual(await look('latest@example.com'), [true, 'absent'])
    const { stdout } = await runCommand(['lookup', 'latest@example.com', '--config', root])
    assert.match(stdout, /^ {2}not in the snapshot of 202 recipients, as of 2\d{3}-/m)
  })

  test('lookup says what the snapshot has while the directory is away, and when there is none', async () => {
    const look = async (one: string) => {
      const { code, stdout } = await runCommand(['lookup', one, '--config', root])
      assert.equal(code, 2)
      assert.match(stdout, new RegExp(`^${one}: the directory cannot tell: .*ECONNREFUSED`))
      return stdout
    }
    configure(ini('ldap://127.0.0.1:1'))
    try {
      assert.match(await look(address(1)), /^ {2}in the snapshot of 202 recipients, as of 2/m)
      assert.match(await look(address(7)), /^ {2}not in the snapshot of 202 recipients, as of 2/m)
      configure(`${ini('ldap://127.0.0.1:1')}[snapshot]\nfile = none\n`)
      assert.match(await look(address(1)), /^ {2}snapshot: there is none yet$/m)
    } finally {
      configure(ini())
    }
  })

  test('check says how old it is', async () => {
    const { stdout } = await runCommand(['check', '--config', root])
    assert.match(
      stdout,
      /^snapshot .*gal_relay\.snapshot\n {2}(ok|warning) +202 recipients, as of /m,
    )
  })

  test('check names the folder where others may write', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async () => {
    const snapshotLines = async () => {
      const { stdout } = await runCommand(['check', '--config', root])
      return /^snapshot .*\n((?: {2}.*\n)*)/m.exec(stdout)?.[1] ?? ''
    }
    chmodSync(root, 0o1777)
    assert.match(
      await snapshotLines(),
      /^ {2}problem +no list is read from there or kept there: others may write to the folder .*mode 1777/,
    )
    chmodSync(root, 0o700)
    assert.doesNotMatch(await snapshotLines(), /problem/)
  })

  test('check says when it is too old, and when it is from the future', async () => {
    const snapshotLine = async () => {
      const { stdout } = await runCommand(['check', '--config', root])
      return /^snapshot .*\n {2}(.*)$/m.exec(stdout)?.[1]
    }
    configure(`${ini()}[snapshot]\nusable_for = 1s\nchanges_every = 1s\n`)
    await sleep(1000)
    assert.match((await snapshotLine()) ?? '', /^problem .*: too old to be used \(usable_for\)$/)
    configure(ini())
    const tomorrow = 'const { now } = Date; Date.now = () => now() + 86_400_000'
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(tomorrow)}` }
    assert.equal((await runCommand(['sync', '--config', root], { env })).code, 0)
    assert.match(
      (await snapshotLine()) ?? '',
      /^problem .*: dated in the future, so it is not used; a clock/,
    )
    await sync()
    assert.match((await snapshotLine()) ?? '', /^(ok|warning) /)
  })

  test('too few recipients are refused, unless it is forced', async () => {
    const unit = `ou=rest,${slapd.base}`
    await slapd.add(unitEntry(unit), { dn: `cn=only,${unit}`, mail: 'only@example.com' })
    await slapd.delete(...Array.from({ length: 150 }, (_, n) => slapd.dnOf(address(n + 10))))
    const refused = await runCommand(['sync', '--config', root])
    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      /^the list was refused: .* fewer by more than shrink_limit .*gal-relay sync --force\n$/,
    )
    assert.match(
      (await runCommand(['lookup', address(20), '--config', root])).stdout,
      /^ {2}still in the snapshot/m,
    )
    const { code, json } = await sync('--force')
    assert.equal(code, 0)
    assert.equal(json.removed, 150)
  })

  test('a Haraka that is running goes on with the new list', async () => {
    const haraka = await startHaraka({ dir: root, ini: `${ini()}[snapshot]\nchanges_every = 1s\n` })
    try {
      await haraka.waitForLog(/the list is in force/)
      const { code, stdout } = await runCommand(['sync', '--force', '--config', root])
      assert.equal(code, 0)
      assert.match(
        stdout,
        /^\d+ recipients in force\n {2}read +\d+ entries of ldap:.*\n {2}before +\d+ recipients/,
      )
      // The one who keeps the list sees that it is another's, and reads it again.
      const seen = haraka.log().length
      await haraka.waitForLog(/the list is in force/, undefined, seen)
      const smtp = await connectSmtp({
        port: haraka.port,
        proxy: { client: '203.0.113.9', local: '10.0.0.5:25' },
      })
      await smtp.ehlo()
      const { rcpt } = await smtp.transaction('a@sender.example', [address(1), address(20)])
      assert.deepEqual(
        rcpt.map(({ code: reply }) => reply),
        [250, 550],
      )
      await smtp.quit()
    } finally {
      await haraka.stop()
    }
  })

  test('what it cannot do ends with 2 and a sentence', async () => {
    const port = await freePort()
    configure(ini(`ldap://127.0.0.1:${port}`))
    const away = await runCommand(['sync', '--config', root])
    assert.equal(away.code, 2)
    assert.match(away.stderr, /^the list was not read: ldap:.*: .*ECONNREFUSED.*\n$/)
    configure(ini().replace('mode = snapshot', 'mode = live'))
    const live = await runCommand(['sync', '--config', root])
    assert.equal(live.code, 2)
    assert.equal(live.stderr, 'there is no list to read: [gal] mode is not snapshot\n')
    configure(`${ini()}[snapshot]\nfile = /proc/nowhere/list\n`)
    const unwritable = await runCommand(['sync', '--config', root])
    assert.equal(unwritable.code, 2)
    assert.match(
      unwritable.stderr,
      /^the list was not read: \/proc\/nowhere\/list cannot be written: /,
    )
    configure(ini())
    writeFileSync(file, 'something else')
    const { json } = await sync()
    assert.equal(json.before, null)
  })
})

// `gal-relay lookup` where the directory says where mail goes: by a look-up, and by the list in memory, with the
// directory away too.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommand } from '../support/command'
import { writeInstall } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'

const { runCommand, runJson } = loadCommand()

type SaidMailbox = Readonly<Record<'host' | 'routing_address' | 'problem', string | null>> | null

interface Answer {
  readonly found: boolean | null
  readonly live: { readonly state: string; readonly mailbox: SaidMailbox }
  readonly snapshot: { readonly state: string; readonly mailbox: SaidMailbox }
}

describe('lookup and mailboxes', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify') }, () => {
  let slapd: Slapd
  let root: string
  before(async () => {
    slapd = await startSlapd({
      entries: [
        { dn: 'uid=ann,dc=corp,dc=test', mail: 'ann@example.com', mailHost: 'EX01' },
        {
          dn: 'uid=bob,dc=corp,dc=test',
          mail: 'bob@example.com',
          mailHost: 'EX01',
          mailRoutingAddress: 'bob@cloud.test',
        },
        { dn: 'uid=cat,dc=corp,dc=test', mail: 'cat@example.com' },
        { dn: 'uid=dan1,dc=corp,dc=test', mail: 'dan@example.com', mailHost: 'EX01' },
        { dn: 'uid=dan2,dc=corp,dc=test', mail: 'dan@example.com', mailHost: 'EX02' },
      ],
    })
    root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const ini = `[routes]\nexample.com = inbound\n[gal]\nmode = snapshot\nrecipient_delimiter = +
host_attribute = mailHost\nrouting_attribute = mailRoutingAddress
[ldap]\nurl[] = ${slapd.url}\nbase = ${slapd.base}\n`
    writeInstall(root, [25], { ini })
    const { code } = await runCommand(['sync', '--config', root])
    assert.equal(code, 0)
  })
  after(async () => {
    await slapd?.stop()
    rmSync(root, { recursive: true, force: true })
  })

  const EXPECTED: Readonly<Record<string, Partial<NonNullable<SaidMailbox>> | null>> = {
    ann: { host: 'EX01', routing_address: null },
    'ann+news': { host: 'EX01', routing_address: null },
    bob: { host: 'EX01', routing_address: 'bob@cloud.test' },
    cat: null,
    dan: { problem: 'its entries contradict each other' },
  }

  test('both say where mail goes', async () => {
    for (const [name, expected] of Object.entries(EXPECTED)) {
      const { json } = await runJson<Answer>(['lookup', `${name}@example.com`, '--config', root])
      assert.equal(json.found, true)
      assert.deepEqual(json.live.mailbox, expected, name)
      assert.deepEqual(json.snapshot.mailbox, expected, name)
    }
    const { stdout } = await runCommand(['lookup', 'bob@example.com', '--config', root])
    assert.match(stdout, /^ {2}mailbox +host EX01, routing address bob@cloud\.test$/m)
    assert.match(stdout, /^ {2}its mailbox there: host EX01, routing address bob@cloud\.test$/m)
  })

  test('the list says it while the directory is away', async () => {
    await slapd.kill()
    for (const [name, expected] of Object.entries(EXPECTED)) {
      const { code, json } = await runJson<Answer>([
        'lookup',
        `${name}@example.com`,
        '--config',
        root,
      ])
      assert.equal(code, 2)
      assert.equal(json.live.mailbox, null)
      assert.equal(json.snapshot.state, 'found')
      assert.deepEqual(json.snapshot.mailbox, expected, name)
    }
  })
})

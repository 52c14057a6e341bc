// What is special about 389 Directory Server: it stops at a limit without saying so, does not report changes of
// attributes that it computes, and restores a backup while it runs.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { probeDirectory } from '../../../plugins/gal-relay/gal/directory/probe'
import type { GalSettings } from '../../../plugins/gal-relay/settings/settings'
import { type Ds389, skipWithoutDs389, startDs389 } from '../../support/ds389'
import { until } from '../../support/until'
import { GAL, LDAP, serverUrl, type TestList, testList } from '../lists'

const BASE = 'dc=corp,dc=test'
const EVERY = 1500

const unitOf = (ou: string) => `ou=${ou},${BASE}`
const dnOf = (name: string, ou: string) => `cn=${name},${unitOf(ou)}`
const person = (name: string, ou: string) => ({
  dn: dnOf(name, ou),
  attributes: { objectClass: 'inetOrgPerson', cn: name, sn: name, mail: `${name}@example.com` },
})
/** A unit with people p0, p1 and so on. */
const unit = (ou: string, count: number) => [
  { dn: unitOf(ou), attributes: { objectClass: 'organizationalUnit', ou } },
  ...Array.from({ length: count }, (_, i) => person(`p${i}`, ou)),
]

interface Site {
  readonly list: TestList
  /** How often the log has said that. */
  said(words: RegExp): number
}

const access = (ds: Ds389, ou: string) => ({
  url: [serverUrl(ds.url)],
  base: [unitOf(ou)],
  bind_dn: ds.bindDn,
  bind_password: ds.password,
})

/** With a list of that unit. */
async function withSite(
  ds: Ds389,
  ou: string,
  run: (site: Site) => Promise<void>,
  gal: Partial<GalSettings> = {},
): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
  const list = testList(
    access(ds, ou),
    { mode: 'snapshot', ...gal },
    { file: path.join(folder, 'list'), changes_every: EVERY, shrink_limit: 0.5 },
  )
  try {
    list.start()
    await run({
      list,
      said: (words) => list.log.lines.filter((line) => words.test(line)).length,
    })
  } finally {
    await list.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('389 Directory Server', { skip: skipWithoutDs389(), concurrency: 2 }, () => {
  describe('while it runs as ever', { concurrency: 1 }, () => {
    let ds: Ds389
    before(async () => {
      ds = await startDs389({
        entries: [...unit('many', 2100), ...unit('locked', 20), ...unit('idle', 20)],
      })
    })
    after(() => ds?.stop())

    test('brings no more than its size limit and does not say so: the next way is taken', () =>
      withSite(ds, 'many', async ({ list, said }) => {
        await list.becomes('nobody@example.com', 'absent')
        assert.equal(list.report().snapshot?.feed, 'timestamps')
        assert.equal(list.report().snapshot?.addresses, 2100)
        const settings = {
          gal: { ...GAL, mode: 'snapshot' as const },
          ldap: { ...LDAP, ...access(ds, 'many') },
        }
        const [server] = await probeDirectory(settings.gal, settings.ldap)
        const texts = server?.findings.map(({ level, text }) => `${level} ${text}`) ?? []
        assert.ok(
          texts.some((text) => /^warning by syncrepl it gives .* part .*size.*limit/i.test(text)),
          texts.join('\n'),
        )
        assert.equal(
          said(/it stopped after 2000 entries where a search finds 2100; .*size limit/),
          1,
        )
        await ds.add(person('new', 'many'))
        await list.becomes('new@example.com', 'found')
        await ds.delete(dnOf('p2099', 'many'))
        await list.becomes('p2099@example.com', 'absent')
      }))

    test('locks an account, which an operational attribute says', () =>
      withSite(
        ds,
        'locked',
        async ({ list, said }) => {
          await list.becomes('nobody@example.com', 'absent')
          await ds.modify(dnOf('p3', 'locked'), { nsAccountLock: 'true' })
          await list.becomes('p3@example.com', 'absent')
          await ds.modify(dnOf('p3', 'locked'), { nsAccountLock: [] })
          await list.becomes('p3@example.com', 'found')
          const asOf = list.report().snapshot?.asOf ?? 0
          await until(() => (list.report().snapshot?.asOf ?? 0) > asOf + 3 * EVERY)
          assert.equal(said(/the whole list is read/), 1)
        },
        { filter: '(!(nsAccountLock=true))' },
      ))

    test('ends connections that are idle', async () => {
      // Long enough for the list to be read in between, however busy the machine is.
      await ds.modify('cn=config', { 'nsslapd-idletimeout': '5' })
      try {
        await withSite(ds, 'idle', async ({ list }) => {
          await list.becomes('nobody@example.com', 'absent')
          const { asOf = 0 } = list.report().snapshot ?? {}
          await until(() => (list.report().snapshot?.asOf ?? 0) > asOf + 8000)
          await ds.add(person('made', 'idle'))
          await list.becomes('made@example.com', 'found')
          await ds.delete(dnOf('p1', 'idle'))
          await list.becomes('p1@example.com', 'absent')
        })
      } finally {
        await ds.modify('cn=config', { 'nsslapd-idletimeout': '0' })
      }
    })
  })

  test('restores a backup while it runs', async () => {
    const ds = await startDs389({ entries: unit('few', 20) })
    try {
      await withSite(ds, 'few', async ({ list }) => {
        await list.becomes('nobody@example.com', 'absent')
        await ds.backUp()
        await ds.delete(dnOf('p1', 'few'))
        await ds.add(person('made', 'few'))
        await ds.modify(dnOf('p2', 'few'), { mail: 'changed@example.com' })
        await list.becomes('p1@example.com', 'absent')
        await list.becomes('made@example.com', 'found')
        await list.becomes('changed@example.com', 'found')
        await ds.restore()
        await list.becomes('p1@example.com', 'found')
        await list.becomes('made@example.com', 'absent')
        await list.becomes('p2@example.com', 'found')
        await list.becomes('changed@example.com', 'absent')
      })
    } finally {
      await ds.stop()
    }
  })
})

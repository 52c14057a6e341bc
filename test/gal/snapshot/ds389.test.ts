// What 389 Directory Server does otherwise: it stops at a limit without a word, changes what it works
// out without telling, and puts a backup back while it runs.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { probeDirectory } from '../../../plugins/gal-relay/gal/directory/probe'
import type { GalSettings } from '../../../plugins/gal-relay/settings/settings'
import { type Ds389, type Ds389Options, skipWithoutDs389, startDs389 } from '../../support/ds389'
import { until } from '../../support/until'
import { GAL, LDAP, serverUrl, type TestList, testList } from '../lists'

const BASE = 'dc=corp,dc=test'
const EVERY = 1500

const dnOf = (name: string) => `cn=${name},${BASE}`
const person = (name: string, mail = `${name}@example.com`) => ({
  dn: dnOf(name),
  attributes: { objectClass: 'inetOrgPerson', cn: name, sn: name, mail },
})
const people = (count: number) => Array.from({ length: count }, (_, i) => person(`p${i}`))

interface Site {
  readonly ds: Ds389
  readonly list: TestList
  /** How often the log has said that. */
  said(words: RegExp): number
}

const access = (ds: Ds389) => ({
  url: [serverUrl(ds.url)],
  bind_dn: ds.bindDn,
  bind_password: ds.password,
})

async function withSite(
  options: Ds389Options,
  run: (site: Site) => Promise<void>,
  gal: Partial<GalSettings> = {},
): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
  const ds = await startDs389(options)
  const list = testList(
    access(ds),
    { mode: 'snapshot', ...gal },
    { file: path.join(folder, 'list'), changes_every: EVERY, shrink_limit: 0.5 },
  )
  try {
    list.start()
    await run({
      ds,
      list,
      said: (words) => list.log.lines.filter((line) => words.test(line)).length,
    })
  } finally {
    await list.close()
    await ds.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('389 Directory Server', { skip: skipWithoutDs389(), concurrency: 2 }, () => {
  test('brings no more than its size limit and does not say so: the next way is taken', () =>
    withSite({ entries: people(2100) }, async ({ ds, list, said }) => {
      await list.becomes('nobody@example.com', 'absent')
      assert.equal(list.report().snapshot?.feed, 'timestamps')
      assert.equal(list.report().snapshot?.addresses, 2100)
      const settings = {
        gal: { ...GAL, mode: 'snapshot' as const },
        ldap: { ...LDAP, ...access(ds) },
      }
      const [server] = await probeDirectory(settings.gal, settings.ldap)
      const texts = server?.findings.map(({ level, text }) => `${level} ${text}`) ?? []
      assert.ok(
        texts.some((text) => /^warning by syncrepl it gives .* part .*size.*limit/i.test(text)),
        texts.join('\n'),
      )
      assert.equal(said(/it stopped after 2000 entries where a search finds 2100; .*size limit/), 1)
      await ds.add(person('new'))
      await list.becomes('new@example.com', 'found')
      await ds.delete(dnOf('p2099'))
      await list.becomes('p2099@example.com', 'absent')
    }))

  test('an account is locked, which an operational attribute says', () =>
    withSite(
      { entries: people(20) },
      async ({ ds, list, said }) => {
        await list.becomes('nobody@example.com', 'absent')
        await ds.modify(dnOf('p3'), { nsAccountLock: 'true' })
        await list.becomes('p3@example.com', 'absent')
        await ds.modify(dnOf('p3'), { nsAccountLock: [] })
        await list.becomes('p3@example.com', 'found')
        const asOf = list.report().snapshot?.asOf ?? 0
        await until(() => (list.report().snapshot?.asOf ?? 0) > asOf + 3 * EVERY)
        assert.equal(said(/the whole list is read/), 1)
      },
      { filter: '(!(nsAccountLock=true))' },
    ))

  test('a backup is put back while it runs', () =>
    withSite({ entries: people(20) }, async ({ ds, list }) => {
      await list.becomes('nobody@example.com', 'absent')
      await ds.backUp()
      await ds.delete(dnOf('p1'))
      await ds.add(person('made'))
      await ds.modify(dnOf('p2'), { mail: 'changed@example.com' })
      await list.becomes('p1@example.com', 'absent')
      await list.becomes('made@example.com', 'found')
      await list.becomes('changed@example.com', 'found')
      await ds.restore()
      await list.becomes('p1@example.com', 'found')
      await list.becomes('made@example.com', 'absent')
      await list.becomes('p2@example.com', 'found')
      await list.becomes('changed@example.com', 'absent')
    }))

  test('ends connections that are idle', () =>
    withSite(
      // Long enough for the list to be read in between, however busy the machine is.
      { entries: people(20), config: { 'nsslapd-idletimeout': '5' } },
      async ({ ds, list }) => {
        await list.becomes('nobody@example.com', 'absent')
        const { asOf = 0 } = list.report().snapshot ?? {}
        await until(() => (list.report().snapshot?.asOf ?? 0) > asOf + 8000)
        await ds.add(person('made'))
        await list.becomes('made@example.com', 'found')
        await ds.delete(dnOf('p1'))
        await list.becomes('p1@example.com', 'absent')
      },
    ))
})

// What 389 Directory Server leaves out of a search without a word: databases that are disabled or being
// imported, and entries that an index lacks. Whoever is there is found or deferred, and never absent.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import {
  type Ds389,
  type Ds389Entry,
  type Ds389Options,
  skipWithoutDs389,
  startDs389,
} from '../support/ds389'
import { type Attributes, ldifAdd } from '../support/ldif'
import { until } from '../support/until'
import { GAL, LDAP, serverUrl, type TestList, testList } from './lists'

const BASE = 'dc=corp,dc=test'
const PEOPLE = `ou=people,${BASE}`
const PART = `ou=part,${BASE}`
const DATABASES = 'cn=ldbm database,cn=plugins,cn=config'

const unit = (dn: string): Ds389Entry => ({
  dn,
  attributes: { objectClass: 'organizationalUnit', ou: /^ou=(\w+)/.exec(dn)?.[1] },
})
const person = (name: string, more: Attributes = {}, below = PEOPLE): Ds389Entry => ({
  dn: `cn=${name},${below}`,
  attributes: {
    objectClass: ['inetOrgPerson', 'galRecipient'],
    cn: name,
    sn: name,
    mail: `${name}@example.com`,
    ...more,
  },
})
const ENTRIES = [unit(PEOPLE), person('ann'), person('bob'), person('cas')]

/** A part of the tree in a database of its own, with somebody in it. */
async function addPart(ds: Ds389): Promise<void> {
  await ds.change(
    ldifAdd(`cn=part,${DATABASES}`, {
      objectClass: ['extensibleObject', 'nsBackendInstance'],
      cn: 'part',
      'nsslapd-suffix': PART,
    }) +
      ldifAdd(`cn="${PART}",cn=mapping tree,cn=config`, {
        objectClass: ['extensibleObject', 'nsMappingTree'],
        cn: PART,
        'nsslapd-state': 'backend',
        'nsslapd-backend': 'part',
        'nsslapd-parent-suffix': BASE,
      }),
  )
  await ds.add(unit(PART), person('sue', {}, PART))
}

const setPart = (ds: Ds389, state: 'backend' | 'disabled') =>
  ds.modify(`cn="${PART}",cn=mapping tree,cn=config`, { 'nsslapd-state': state })

interface Site {
  readonly ds: Ds389
  readonly live: TestList
  /** In memory, and current. */
  readonly kept: TestList
  /** What check says that is not well. */
  problems(): Promise<string[]>
}

async function withSite(
  options: Ds389Options,
  prepare: (ds: Ds389) => Promise<void>,
  run: (site: Site) => Promise<void>,
  more: { readonly ldap?: Partial<LdapSettings>; readonly gal?: Partial<GalSettings> } = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ds389-backends-'))
  const ds = await startDs389(options)
  const lists: TestList[] = []
  try {
    await prepare(ds)
    const ldap = {
      url: [serverUrl(ds.url)],
      bind_dn: ds.bindDn,
      bind_password: ds.password,
      ...more.ldap,
    }
    const live = testList(ldap, more.gal)
    const kept = testList(
      ldap,
      { ...more.gal, mode: 'snapshot' },
      { file: join(folder, 'list'), changes_every: 2000, shrink_limit: 0.9 },
    )
    lists.push(live, kept)
    kept.start()
    await until(
      () => (kept.report().snapshot?.addresses ?? 0) > 0,
      () => kept.log.lines.join('\n'),
    )
    await run({
      ds,
      live,
      kept,
      async problems() {
        const [server] = await probeDirectory({ ...GAL, ...more.gal }, { ...LDAP, ...ldap })
        const findings = server?.findings.filter(({ level }) => level === 'problem') ?? []
        return findings.map(({ text }) => text)
      },
    })
  } finally {
    await Promise.all(lists.map((list) => list.close()))
    await ds.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function answered(list: TestList, expected: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, state] of Object.entries(expected)) {
    const given = await list.answer(`${name}@example.com`)
    assert.deepEqual([name, given.state], [name, state], JSON.stringify(given))
  }
}

describe('what 389 Directory Server leaves out', {
  skip: skipWithoutDs389(),
  concurrency: 3,
}, () => {
  for (const contentSync of [true, false]) {
    const feed = contentSync ? 'syncrepl' : 'timestamps'
    test(`a part of the tree whose database is disabled, by ${feed}`, () =>
      withSite({ entries: ENTRIES, contentSync }, addPart, async ({ ds, live, kept, problems }) => {
        await kept.becomes('sue@example.com', 'found')
        await kept.becomes('nobody@example.com', 'absent')
        assert.equal(kept.report().snapshot?.feed, feed)
        await answered(live, { ann: 'found', sue: 'found', nobody: 'absent' })
        assert.deepEqual(await problems(), [])

        await setPart(ds, 'disabled')
        await answered(live, { ann: 'found', sue: 'unavailable', nobody: 'unavailable' })
        await until(() => kept.report().snapshot?.isCurrent === false)
        await answered(kept, { ann: 'found', nobody: 'unavailable' })
        const sue = await kept.ask('sue@example.com')
        assert.ok(['found', 'unavailable'].includes(sue), sue)
        const [problem = '', ...others] = await problems()
        assert.match(
          problem,
          new RegExp(`^${PART}: this part of the tree cannot be asked: .*deferred`),
        )
        assert.deepEqual(others, [])

        await setPart(ds, 'backend')
        await answered(live, { sue: 'found', nobody: 'absent' })
        await kept.becomes('sue@example.com', 'found')
        await kept.becomes('nobody@example.com', 'absent')
      }))
  }

  test('entries from before an index that was never built', () =>
    withSite(
      {
        entries: [
          ...ENTRIES,
          person('old', { mail: undefined, proxyAddresses: 'smtp:old@example.com' }),
        ],
      },
      async (ds) => {
        await ds.change(
          ldifAdd(`cn=proxyAddresses,cn=index,cn=userroot,${DATABASES}`, {
            objectClass: 'nsIndex',
            cn: 'proxyAddresses',
            nsSystemIndex: 'false',
            nsIndexType: ['eq', 'pres'],
          }),
        )
        await ds.restart()
        await ds.add(person('new', { mail: undefined, proxyAddresses: 'smtp:new@example.com' }))
      },
      async ({ live, kept, problems }) => {
        for (const list of [live, kept]) {
          await answered(list, {
            ...{ ann: 'found', new: 'found' },
            ...{ old: 'unavailable', nobody: 'unavailable' },
          })
        }
        const [problem = ''] = await problems()
        assert.match(
          problem,
          /^proxyAddresses: cn=old,.* shows an address in it that no search finds: .*index/,
        )
      },
    ))

  test('addresses that the server computes, for which it has an index', () =>
    withSite(
      {
        entries: [
          ...ENTRIES,
          person('gus', { mail: undefined, employeeType: 'vip' }),
          {
            dn: `cn=templates,${BASE}`,
            attributes: { objectClass: 'nsContainer', cn: 'templates' },
          },
          {
            dn: `cn=vip,cn=templates,${BASE}`,
            attributes: {
              objectClass: ['cosTemplate', 'extensibleObject'],
              cn: 'vip',
              mail: 'vip@example.com',
            },
          },
          {
            dn: `cn=service,${PEOPLE}`,
            attributes: {
              objectClass: ['cosSuperDefinition', 'cosClassicDefinition'],
              cn: 'service',
              cosTemplateDn: `cn=templates,${BASE}`,
              cosSpecifier: 'employeeType',
              cosAttribute: 'mail',
            },
          },
        ],
      },
      async () => {},
      async ({ live, kept, problems }) => {
        for (const list of [live, kept]) {
          await answered(list, { ann: 'found', vip: 'unavailable', nobody: 'unavailable' })
        }
        const [problem = ''] = await problems()
        assert.match(problem, /^mail: cn=gus,.* shows an address in it that no search finds/)
      },
      { ldap: { base: [PEOPLE] }, gal: { attributes: ['mail'] } },
    ))

  test('an attribute without an index, and too many entries: those in another one are found', async () => {
    const more = Array.from({ length: 10 }, (_, i) => person(`p${i}`))
    const ds = await startDs389({ entries: [...ENTRIES, ...more] })
    const { bindDn: bind_dn, password: bind_password } = ds
    await ds.modify(bind_dn, { nsLookThroughLimit: '5' })
    const ldap = { url: [serverUrl(ds.url)], bind_dn, bind_password }
    const live = testList(ldap)
    try {
      await answered(live, { ann: 'found', p9: 'found', nobody: 'unavailable' })
      const [server] = await probeDirectory(GAL, { ...LDAP, ...ldap })
      const problems = server?.findings.filter(({ level }) => level === 'problem') ?? []
      const texts = problems.map(({ text }) => text)
      const what = /^proxyAddresses: entries with it cannot be listed: .*: index the attributes/
      assert.ok(
        texts.some((text) => what.test(text)),
        texts.join('\n'),
      )
      // The server keeps to the limit of the bind. A list that is seldom asked opens no further connection
      // because it is busy.
      await ds.modify(bind_dn, { nsLookThroughLimit: '-1' })
      const isAbsent = async () => (await live.ask('nobody@example.com')) === 'absent'
      await until(isAbsent, () => live.log.lines.join('\n'), undefined, 1000)
    } finally {
      await live.close()
      await ds.stop()
    }
  })

  test('a base that is not there: recipients are found below the other one', async () => {
    const ds = await startDs389({ entries: ENTRIES })
    const { bindDn: bind_dn, password: bind_password } = ds
    const base = [PEOPLE, `ou=gone,${BASE}`]
    const live = testList({ url: [serverUrl(ds.url)], base, bind_dn, bind_password })
    try {
      await answered(live, { ann: 'found', nobody: 'unavailable' })
      const what =
        /unknown recipients are deferred: below ou=gone,.* nothing can be searched: no such/
      const said = live.log.lines.filter((line) => what.test(line))
      assert.equal(said.length, 1, live.log.lines.join('\n'))
      await ds.add(unit(`ou=gone,${BASE}`), person('ida', {}, `ou=gone,${BASE}`))
      await answered(live, { ida: 'found' })
      await live.becomes('nobody@example.com', 'absent')
    } finally {
      await live.close()
      await ds.stop()
    }
  })
})

// A server tells of changes by RFC 4533 and leaves a part of the tree out: the list is not taken from
// what it tells, but is read by the next way, and the log says who was left out.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { whatIsLeftOut } from '../../../plugins/gal-relay/gal/directory/left-out'
import { listDefinition } from '../../../plugins/gal-relay/gal/directory/list-definition'
import { probeDirectory } from '../../../plugins/gal-relay/gal/directory/probe'
import type { TakeEntry } from '../../../plugins/gal-relay/gal/directory/whole-list'
import type { FeedContext } from '../../../plugins/gal-relay/gal/feeds/change-feed'
import type { FeedName } from '../../../plugins/gal-relay/gal/feeds/table'
import { Keeper } from '../../../plugins/gal-relay/gal/snapshot/keeper'
import { skipWithout } from '../../support/programs'
import { type SlapdEntry, type SlapdOptions, startSlapd } from '../../support/slapd'
import { GAL, LDAP, recordedLog, SNAPSHOT, serverUrl, testList } from '../lists'

const TOP = 'dc=corp,dc=test'
const OTHER = 'dc=other,dc=test'

const unit = (ou: string, above: string): SlapdEntry => ({
  ...{ dn: `ou=${ou},${above}`, objectClass: 'organizationalUnit', ou },
  ...{ cn: undefined, sn: undefined },
})
const SUB = `ou=sub,${TOP}`

/** A database of its own in this folder. */
const database = (suffix: string, folder: string, ...more: string[]) => [
  'database mdb',
  `suffix "${suffix}"`,
  `rootdn "cn=admin,${TOP}"`,
  `directory ${folder}`,
  'maxsize 1073741824',
  'dbnosync',
  'access to * by * read',
  ...more,
]

interface Layout {
  readonly what: string
  readonly base: readonly string[]
  readonly feed: FeedName
  options(folder: string): SlapdOptions
}

const LAYOUTS: readonly Layout[] = [
  {
    what: 'a subordinate database, and syncprov above it',
    base: [TOP],
    feed: 'timestamps',
    options: (folder) => ({
      before: database(SUB, folder, 'subordinate'),
      entries: [unit('sub', TOP)],
    }),
  },
  {
    what: 'a subordinate database, and syncprov on both',
    base: [TOP],
    feed: 'timestamps',
    options: (folder) => ({
      before: database(SUB, folder, 'subordinate', 'overlay syncprov'),
      entries: [unit('sub', TOP)],
    }),
  },
  {
    what: 'a subordinate database, glued before syncprov',
    base: [TOP],
    feed: 'syncrepl',
    options: (folder) => ({
      before: database(SUB, folder, 'subordinate'),
      syncprov: false,
      schema: ['modulepath /usr/lib/ldap', 'moduleload syncprov'],
      database: ['overlay glue', 'overlay syncprov'],
      entries: [unit('sub', TOP)],
    }),
  },
  {
    what: 'two bases of which one has syncprov',
    base: [TOP, OTHER],
    feed: 'timestamps',
    options: (folder) => ({ database: database(OTHER, folder) }),
  },
]

describe('a feed that leaves something out', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, () => {
  for (const { what, base, feed, options } of LAYOUTS) {
    test(what, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const files = mkdtempSync(path.join(tmpdir(), 'slapd-'))
      const slapd = await startSlapd(options(files))
      const list = testList(
        { url: [serverUrl(slapd.url)], base },
        { mode: 'snapshot' },
        { file: path.join(folder, 'list'), changes_every: 1500 },
      )
      const below = base[1] ?? SUB
      const person = (name: string, container: string) => ({
        dn: `cn=${name},${container}`,
        mail: `${name}@example.com`,
      })
      try {
        if (base[1]) await slapd.add({ dn: OTHER, ...TOP_OF_OTHER })
        await slapd.add(person('upper', TOP), person('lower', below))
        list.start()
        await list.becomes('nobody@example.com', 'absent')
        assert.equal(list.report().snapshot?.feed, feed)
        assert.equal(list.report().snapshot?.addresses, 2)
        assert.equal(await list.ask('upper@example.com'), 'found')
        assert.equal(await list.ask('lower@example.com'), 'found')
        const said = list.log.lines.some((line) => line.includes(`search finds: cn=lower,${SUB}`))
        assert.equal(said, below === SUB && feed !== 'syncrepl', list.log.lines.join('\n'))
        if (base[1]) {
          const ldap = { ...LDAP, url: [serverUrl(slapd.url)], base: [...base] }
          const [server] = await probeDirectory({ ...GAL, mode: 'snapshot' }, ldap)
          const words = `warning it does not report changes by syncrepl below ${OTHER}: `
          const lines = server?.findings.map(({ level, text }) => `${level} ${text}`) ?? []
          assert.ok(
            lines.some((line) => line.startsWith(words)),
            lines.join('\n'),
          )
        }
        await slapd.add(person('later', below))
        await list.becomes('later@example.com', 'found')
        await slapd.delete(`cn=lower,${below}`)
        await list.becomes('lower@example.com', 'absent')
      } finally {
        await list.close()
        await slapd.stop()
        for (const one of [folder, files]) rmSync(one, { recursive: true })
      }
    })
  }
})

test('a feed that brings what a search does not find is not used', async () => {
  const definition = listDefinition(GAL, LDAP)
  const keeper = new Keeper({
    ...{ list: definition, snapshot: SNAPSHOT, before: undefined, force: false },
    log: recordedLog(),
  })
  const ids = ['one', 'two', 'gone'].map((id) => Buffer.from(id))
  const found = ids.slice(0, 2)
  const entryOf = (id: Buffer) => {
    const values = [Buffer.from(`${id}@example.com`)]
    return { dn: `cn=${id}`, attributes: [{ type: 'mail', values }] }
  }
  for (const id of ids) keeper.entry(id, entryOf(id))
  const list = {
    definition,
    async readAll(take: TakeEntry) {
      for (const id of found) take(id, entryOf(id), 0)
    },
  }
  const { signal } = new AbortController()
  const context = { keeper, list, signal } as unknown as FeedContext
  const compare = () => whatIsLeftOut(context, new Set(), (_, id) => id)
  assert.equal(await compare(), 'it returns entries that a search does not find: 1')
  // Somebody who goes at that moment is no such entry.
  setTimeout(() => keeper.gone(Buffer.from('gone')), 100)
  assert.equal(await compare(), undefined)
})

const TOP_OF_OTHER = {
  objectClass: ['dcObject', 'organization'],
  ...{ dc: 'other', o: 'other', cn: undefined, sn: undefined },
}

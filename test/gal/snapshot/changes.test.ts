// What happens in the directory is in force in memory in time, whichever way the directory tells of it.
// Nothing is asked live after the list is current, so that each answer is the list's own.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { LdapSettings } from '../../../plugins/gal-relay/settings/settings'
import { until } from '../../support/until'
import {
  ACTIVE_DIRECTORY,
  type DirectoryKind,
  DS389,
  OPENLDAP,
  type TestDirectory,
  type TestEntry,
} from '../directories'
import { type TestList, testList } from '../lists'

/** In force so soon where the directory notifies, however seldom it is asked. */
const NOTIFIED = 5000
const SELDOM = 60_000
/**
 * And else within `changes_every`; in two of them on a machine so busy that comparing everything takes
 * more than a third of that.
 */
const OFTEN = 3000

interface Way {
  readonly feed: string
  readonly kind: DirectoryKind
  settings(directory: TestDirectory): Promise<Partial<LdapSettings>>
  /** What is not told in the moment it happens. */
  readonly late?: readonly ('removal' | 'change')[]
}

const WAYS: readonly Way[] = [
  {
    feed: 'syncrepl',
    kind: OPENLDAP,
    settings: async (directory) => directory.settings(),
  },
  {
    feed: 'syncrepl',
    kind: DS389,
    settings: async (directory) => directory.settings(),
    // It says nothing of entries that move with their container, and so all are read as often.
    late: ['removal', 'change'],
  },
  {
    feed: 'timestamps',
    kind: {
      ...OPENLDAP,
      name: 'OpenLDAP without syncprov',
      start: (options) => OPENLDAP.start({ ...options, syncprov: false }),
    },
    settings: async (directory) => directory.settings(),
    late: ['removal', 'change'],
  },
  {
    feed: 'dirsync',
    kind: ACTIVE_DIRECTORY,
    settings: async (directory) => directory.settings(),
  },
  {
    feed: 'usn',
    kind: { ...ACTIVE_DIRECTORY, name: 'Active Directory, ordinary account' },
    settings: async (directory) => ({ ...directory.settings(), ...(await directory.ordinary()) }),
    late: ['removal'],
  },
  {
    feed: 'usn',
    kind: { ...ACTIVE_DIRECTORY, name: 'Global Catalog' },
    settings: async (directory) => directory.settings('Global Catalog'),
  },
]

const entry = (name: string, ...addresses: string[]): TestEntry => ({
  name,
  in: 'one',
  kind: 'contact',
  attributes: { proxyAddresses: addresses.map((address) => `smtp:${address}`) },
})

describe('changes are in force in time', { concurrency: 3 }, () => {
  for (const { kind, feed, settings, late = [] } of WAYS) {
    describe(`${kind.name}, changes by ${feed}`, { skip: kind.skip }, () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const file = path.join(folder, 'list')
      const stays = Array.from({ length: 20 }, (_, i) =>
        entry(`stays${i}`, `stays${i}@example.com`),
      )
      const every = late.length > 0 ? OFTEN : SELDOM
      /** How long it took until they were in force. */
      const changes: number[] = []
      const removals: number[] = []
      let changedAt = 0
      let directory: TestDirectory
      let list: TestList

      before(async () => {
        directory = await kind.start()
        await directory.add(...stays)
        const ldap = await settings(directory)
        const base = (ldap.base ?? []).map((dn) => (dn === '' ? '' : `ou=one,${dn}`))
        list = testList(
          { ...ldap, base },
          { mode: 'snapshot', authenticated_only_attribute: directory.flag },
          { file, changes_every: every },
        )
        list.start()
        await until(() => list.report().snapshot?.isCurrent === true)
        assert.equal(list.report().snapshot?.feed, feed)
      })

      after(async () => {
        await list?.close()
        await directory?.stop()
        rmSync(folder, { recursive: true, force: true })
      })

      /** Something happens in the directory. */
      async function done(change: Promise<void>): Promise<void> {
        await change
        changedAt = performance.now()
      }
      /** The list says so, by itself. */
      async function becomes(address: string, state: string, waits: number[]): Promise<void> {
        await list.becomes(address, state)
        waits.push(performance.now() - changedAt)
      }
      /** The rest of the directory: what left the bases. */
      const isEverywhere = kind.name === 'Global Catalog'

      test('an entry is added, changed, deleted, restored, and made again', async () => {
        const one = entry('one', 'one@example.com', 'also@example.com')
        await done(directory.add(one))
        await becomes('one@example.com', 'found', changes)
        assert.equal(await list.ask('also@example.com'), 'found')

        await done(
          directory.modify(one, {
            proxyAddresses: ['SMTP:one@example.com', 'smtp:new@example.com'],
          }),
        )
        await becomes('new@example.com', 'found', changes)
        await becomes('also@example.com', 'absent', removals)
        assert.equal(await list.ask('one@example.com'), 'found')

        await done(directory.remove(one))
        await becomes('one@example.com', 'absent', removals)
        assert.equal(await list.ask('new@example.com'), 'absent')

        await done(directory.restore(one))
        await becomes('one@example.com', 'found', changes)
        assert.equal(await list.ask('also@example.com'), 'found')

        await done(directory.remove(one))
        await becomes('one@example.com', 'absent', removals)
        await done(directory.add(one))
        await becomes('one@example.com', 'found', changes)
        assert.equal(await list.ask('also@example.com'), 'found')
      })

      test('it is renamed, leaves the base, and comes back', async () => {
        const one = entry('before', 'moves@example.com')
        await done(directory.add(one))
        await becomes('moves@example.com', 'found', changes)
        const renamed = { ...one, name: 'after' }
        await done(directory.move(one, renamed))
        await done(directory.add(entry('marker', 'marker@example.com')))
        await becomes('marker@example.com', 'found', changes)
        assert.equal(await list.ask('moves@example.com'), 'found')

        const outside: TestEntry = { ...renamed, in: 'two' }
        await done(directory.move(renamed, outside))
        if (!isEverywhere) await becomes('moves@example.com', 'absent', removals)
        await done(directory.move(outside, renamed))
        await becomes('moves@example.com', 'found', changes)
      })

      test('an address that two entries hold stays until both are gone', async () => {
        const one = entry('holder1', 'shared@example.com')
        const two = entry('holder2', 'shared@example.com')
        await done(directory.add(one, two, entry('both', 'both@example.com')))
        await becomes('both@example.com', 'found', changes)
        await done(directory.remove(one))
        await done(directory.remove(entry('both')))
        await becomes('both@example.com', 'absent', removals)
        assert.equal(await list.ask('shared@example.com'), 'found')
        await done(directory.remove(two))
        await becomes('shared@example.com', 'absent', removals)
      })

      test('a recipient is for authenticated senders only, and for all again', async () => {
        const one = entry('closed', 'closed@example.com')
        await done(directory.add(one))
        await becomes('closed@example.com', 'found', changes)
        await done(directory.modify(one, { [directory.flag]: 'TRUE' }))
        await becomes('closed@example.com', 'found authenticated', changes)
        await done(directory.modify(one, { [directory.flag]: 'FALSE' }))
        await becomes('closed@example.com', 'found', changes)
      })

      const moveContainer = async () => {
        await directory.add({ ...entry('far', 'far@example.com'), in: 'two' })
        await directory.moveContainer('one')
        await list.becomes('far@example.com', 'found')
        await directory.moveContainer('base')
        await list.becomes('far@example.com', 'absent')
        assert.equal(await list.ask('stays7@example.com'), 'found')
      }
      if (!isEverywhere) test('a container enters the base and leaves it', moveContainer)

      // One alone may have had to wait for the machine.
      test('all that was in force in time', () => {
        const within = (what: 'change' | 'removal') => (late.includes(what) ? 2 * every : NOTIFIED)
        const [change, removal] = [median(changes), median(removals)]
        assert.ok(change <= within('change'), `changes after ${changes.map(Math.round)} ms`)
        assert.ok(removal <= within('removal'), `removals after ${removals.map(Math.round)} ms`)
      })
    })
  }
})

describe('who enters or leaves a group that the filter asks for is not told of, and is followed', {
  concurrency: 3,
}, () => {
  for (const { kind, feed, settings } of WAYS) {
    if (kind.name === 'Global Catalog') continue
    test(`${kind.name}, changes by ${feed}`, { skip: kind.skip }, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const directory = await kind.start({ memberOf: true })
      const people = ['a', 'b', 'c', 'd'].map((name) => entry(name, `${name}@example.com`))
      const [a = '', b = '', c = '', d = ''] = people.map((one) => directory.dn(one))
      const group = { name: 'mail users', in: 'two' as const, kind: 'group' as const }
      await directory.add(...people)
      await directory.add({ ...group, attributes: { member: [a, b, c] } })
      const filter = `(memberOf=${directory.dn({ ...group, attributes: {} })})`
      const ldap = { ...(await settings(directory)), base: [`ou=one,${directory.base}`] }
      const list = testList(
        ldap,
        { mode: 'snapshot', filter, authenticated_only_attribute: '' },
        { file: path.join(folder, 'list'), changes_every: OFTEN, shrink_limit: 0.5 },
      )
      try {
        list.start()
        await list.becomes('d@example.com', 'absent')
        assert.equal(list.report().snapshot?.feed, feed)
        assert.equal(await list.ask('a@example.com'), 'found')
        await directory.modify({ ...group, attributes: {} }, { member: [b, c, d] })
        await list.becomes('d@example.com', 'found', 6 * OFTEN)
        await list.becomes('a@example.com', 'absent', 6 * OFTEN)
        const one = people[1] as TestEntry
        await directory.modify(one, { proxyAddresses: ['smtp:other@example.com'] })
        await list.becomes('other@example.com', 'found')
        await list.becomes('b@example.com', 'absent')
      } finally {
        await list.close()
        await directory.stop()
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})

describe('who enters or leaves the list by an attribute of its own is told of', {
  concurrency: 3,
}, () => {
  for (const { kind, feed, settings, late = [] } of WAYS) {
    if (kind.name === 'Global Catalog') continue
    test(`${kind.name}, changes by ${feed}`, { skip: kind.skip }, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const directory = await kind.start()
      const [one, two, three] = ['a', 'b', 'c'].map((name) => entry(name, `${name}@example.com`))
      assert.ok(one && two && three)
      const listed = { displayName: 'listed' }
      await directory.add({ ...one, attributes: { ...one.attributes, ...listed } }, two, three)
      await directory.modify(three, listed)
      const ldap = { ...(await settings(directory)), base: [`ou=one,${directory.base}`] }
      const list = testList(
        ldap,
        { mode: 'snapshot', filter: '(displayName=listed)', authenticated_only_attribute: '' },
        {
          file: path.join(folder, 'list'),
          changes_every: late.length > 0 ? OFTEN : SELDOM,
          shrink_limit: 0.5,
        },
      )
      try {
        list.start()
        await list.becomes('b@example.com', 'absent')
        assert.equal(list.report().snapshot?.feed, feed)
        await directory.modify(two, listed)
        await list.becomes('b@example.com', 'found', 6 * OFTEN)
        await directory.modify(one, { displayName: 'unlisted' })
        await list.becomes('a@example.com', 'absent', 6 * OFTEN)
        assert.equal(await list.ask('c@example.com'), 'found')
      } finally {
        await list.close()
        await directory.stop()
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})

function median(numbers: readonly number[]): number {
  const middle = [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
  assert.ok(middle !== undefined)
  return middle
}

// Changes in the directory are in force in memory in time, by whichever feed the directory reports them.
// Nothing is asked live once the list is current, so each answer is the list's own.
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

/** Milliseconds within which a change is in force if the directory notifies, however seldom it is asked. */
const NOTIFIED = 5000
const SELDOM = 60_000
/**
 * `changes_every` for the others. A change may take twice as long on a machine so busy that comparing
 * everything takes more than a third of that.
 */
const OFTEN = 3000

interface Way {
  readonly feed: string
  readonly kind: DirectoryKind
  settings(directory: TestDirectory): Promise<Partial<LdapSettings>>
  /** What the directory does not report at once. */
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
    // It does not report entries that move with their container, so all entries are read as often.
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
    describe(`${kind.name}, changes by ${feed}`, { skip: kind.skip, concurrency: 1 }, () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const file = path.join(folder, 'list')
      const stays = Array.from({ length: 20 }, (_, i) =>
        entry(`stays${i}`, `stays${i}@example.com`),
      )
      const every = late.length > 0 ? OFTEN : SELDOM
      /** Milliseconds until they were in force. */
      const changes: number[] = []
      const removals: number[] = []
      let directory: TestDirectory
      let ldap: Partial<LdapSettings>
      let list: TestList

      before(async () => {
        directory = await kind.start({ memberOf: true })
        await directory.add(...stays)
        ldap = await settings(directory)
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

      /** Each test has a clock of its own, because tests run at the same time. */
      function clock() {
        let changedAt = 0
        return {
          /** Waits for a change in the directory, and notes the time. */
          async done(change: Promise<void>): Promise<void> {
            await change
            changedAt = performance.now()
          },
          /** Waits until the list says so by itself, and notes how long that took. */
          async becomes(address: string, state: string, waits: number[]): Promise<void> {
            await list.becomes(address, state)
            waits.push(performance.now() - changedAt)
          },
        }
      }
      /** Its base is the whole directory, which entries and containers do not leave. */
      const isEverywhere = kind.name === 'Global Catalog'

      describe('changes of entries', { concurrency: 3 }, () => {
        test('an entry is added, changed, deleted, restored, and made again', async () => {
          const { done, becomes } = clock()
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
          const { done, becomes } = clock()
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
          const { done, becomes } = clock()
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
          const { done, becomes } = clock()
          const one = entry('closed', 'closed@example.com')
          await done(directory.add(one))
          await becomes('closed@example.com', 'found', changes)
          await done(directory.modify(one, { [directory.flag]: 'TRUE' }))
          await becomes('closed@example.com', 'found authenticated', changes)
          await done(directory.modify(one, { [directory.flag]: 'FALSE' }))
          await becomes('closed@example.com', 'found', changes)
        })
      })

      // By itself, because other tests put entries into that container.
      const moveContainer = async () => {
        await directory.add({ ...entry('far', 'far@example.com'), in: 'two' })
        await directory.moveContainer('one')
        await list.becomes('far@example.com', 'found')
        await directory.moveContainer('base')
        await list.becomes('far@example.com', 'absent')
        assert.equal(await list.ask('stays7@example.com'), 'found')
      }
      if (!isEverywhere) test('a container enters the base and leaves it', moveContainer)

      // A single change may have waited for the machine, so the median counts.
      test('all of these were in force in time', () => {
        const within = (what: 'change' | 'removal') => (late.includes(what) ? 2 * every : NOTIFIED)
        const [change, removal] = [median(changes), median(removals)]
        assert.ok(change <= within('change'), `changes after ${changes.map(Math.round)} ms`)
        assert.ok(removal <= within('removal'), `removals after ${removals.map(Math.round)} ms`)
      })

      /** Runs a test with a second list of the same directory. */
      async function withList(
        filter: string,
        changes_every: number,
        run: (list: TestList) => Promise<void>,
      ): Promise<void> {
        const own = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
        const filtered = testList(
          { ...ldap, base: [`ou=one,${directory.base}`] },
          { mode: 'snapshot', filter, authenticated_only_attribute: '' },
          { file: path.join(own, 'list'), changes_every, shrink_limit: 0.5 },
        )
        try {
          filtered.start()
          await run(filtered)
        } finally {
          await filtered.close()
          rmSync(own, { recursive: true, force: true })
        }
      }

      if (isEverywhere) return
      describe('changes of what a filter selects', { concurrency: 2 }, () => {
        test('members of a group that the filter names come and go, which is not reported', async () => {
          const people = ['a', 'b', 'c', 'd'].map((name) =>
            entry(`${name}1`, `${name}@group.example`),
          )
          const [a = '', b = '', c = '', d = ''] = people.map((one) => directory.dn(one))
          const group = { name: 'mail users', in: 'two' as const, kind: 'group' as const }
          await directory.add(...people)
          await directory.add({ ...group, attributes: { member: [a, b, c] } })
          const filter = `(memberOf=${directory.dn({ ...group, attributes: {} })})`
          await withList(filter, OFTEN, async (members) => {
            await members.becomes('d@group.example', 'absent')
            assert.equal(members.report().snapshot?.feed, feed)
            assert.equal(await members.ask('a@group.example'), 'found')
            await directory.modify({ ...group, attributes: {} }, { member: [b, c, d] })
            await members.becomes('d@group.example', 'found', 6 * OFTEN)
            await members.becomes('a@group.example', 'absent', 6 * OFTEN)
            const one = people[1] as TestEntry
            await directory.modify(one, { proxyAddresses: ['smtp:other@group.example'] })
            await members.becomes('other@group.example', 'found')
            await members.becomes('b@group.example', 'absent')
          })
        })

        test('entries come and go by an attribute of their own that the filter names', async () => {
          const [one, two, three] = ['a', 'b', 'c'].map((name) =>
            entry(`${name}2`, `${name}@listed.example`),
          )
          assert.ok(one && two && three)
          const listed = { displayName: 'listed' }
          await directory.add({ ...one, attributes: { ...one.attributes, ...listed } }, two, three)
          await directory.modify(three, listed)
          await withList('(displayName=listed)', every, async (entries) => {
            await entries.becomes('b@listed.example', 'absent')
            assert.equal(entries.report().snapshot?.feed, feed)
            await directory.modify(two, listed)
            await entries.becomes('b@listed.example', 'found', 6 * OFTEN)
            await directory.modify(one, { displayName: 'unlisted' })
            await entries.becomes('a@listed.example', 'absent', 6 * OFTEN)
            assert.equal(await entries.ask('c@listed.example'), 'found')
          })
        })
      })
    })
  }
})

function median(numbers: readonly number[]): number {
  const middle = [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
  assert.ok(middle !== undefined)
  return middle
}

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
  OPENLDAP,
  type TestDirectory,
  type TestEntry,
} from '../directories'
import { type TestList, testList } from '../lists'

/** In force so soon where the directory notifies. */
const NOTIFIED = 5000
/** And else in this. */
const CHANGES_EVERY = 8000

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
    feed: 'timestamps',
    kind: {
      ...OPENLDAP,
      name: 'OpenLDAP without syncprov',
      start: () => OPENLDAP.start({ syncprov: false }),
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

for (const { kind, feed, settings, late = [] } of WAYS) {
  describe(`${kind.name}, changes by ${feed}`, { skip: kind.skip }, () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    const file = path.join(folder, 'list')
    const stays = Array.from({ length: 20 }, (_, i) => entry(`stays${i}`, `stays${i}@example.com`))
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
        { file, changes_every: CHANGES_EVERY },
      )
      list.start()
      await until(() => list.report().snapshot?.isCurrent === true, 20_000)
      assert.equal(list.report().snapshot?.feed, feed)
    })

    after(async () => {
      await list?.close()
      await directory?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    /** Waits for the list to say so, by itself. */
    async function becomes(address: string, state: string, within = NOTIFIED): Promise<void> {
      await until(async () => {
        const isCurrent = list.report().snapshot?.isCurrent
        return (await list.ask(address)) === state && isCurrent === true
      }, within)
    }
    const removal = late.includes('removal') ? CHANGES_EVERY + 2000 : NOTIFIED
    const change = late.includes('change') ? CHANGES_EVERY + 2000 : NOTIFIED
    /** The rest of the directory: what left the bases. */
    const isEverywhere = kind.name === 'Global Catalog'

    test('an entry is added, changed and deleted, and made again', async () => {
      const one = entry('one', 'one@example.com', 'also@example.com')
      await directory.add(one)
      await becomes('one@example.com', 'found', change)
      assert.equal(await list.ask('also@example.com'), 'found')

      await directory.modify(one, {
        proxyAddresses: ['SMTP:one@example.com', 'smtp:new@example.com'],
      })
      await becomes('new@example.com', 'found', change)
      await becomes('also@example.com', 'absent', removal)
      assert.equal(await list.ask('one@example.com'), 'found')

      await directory.remove(one)
      await becomes('one@example.com', 'absent', removal)
      assert.equal(await list.ask('new@example.com'), 'absent')

      await directory.add(one)
      await becomes('one@example.com', 'found', change)
      assert.equal(await list.ask('also@example.com'), 'found')
    })

    test('it is renamed, leaves the base, and comes back', async () => {
      const one = entry('before', 'moves@example.com')
      await directory.add(one)
      await becomes('moves@example.com', 'found', change)
      const renamed = { ...one, name: 'after' }
      await directory.move(one, renamed)
      await directory.add(entry('marker', 'marker@example.com'))
      await becomes('marker@example.com', 'found', change)
      assert.equal(await list.ask('moves@example.com'), 'found')

      const outside: TestEntry = { ...renamed, in: 'two' }
      await directory.move(renamed, outside)
      if (!isEverywhere) await becomes('moves@example.com', 'absent', removal)
      await directory.move(outside, renamed)
      await becomes('moves@example.com', 'found', change)
    })

    test('an address that two entries hold stays until both are gone', async () => {
      const one = entry('holder1', 'shared@example.com')
      const two = entry('holder2', 'shared@example.com')
      await directory.add(one, two, entry('both', 'both@example.com'))
      await becomes('both@example.com', 'found', change)
      await directory.remove(one)
      await directory.remove(entry('both'))
      await becomes('both@example.com', 'absent', removal)
      assert.equal(await list.ask('shared@example.com'), 'found')
      await directory.remove(two)
      await becomes('shared@example.com', 'absent', removal)
    })

    test('a recipient is for authenticated senders only, and for all again', async () => {
      const one = entry('closed', 'closed@example.com')
      await directory.add(one)
      await becomes('closed@example.com', 'found', change)
      await directory.modify(one, { [directory.flag]: 'TRUE' })
      await becomes('closed@example.com', 'found authenticated', change)
      await directory.modify(one, { [directory.flag]: 'FALSE' })
      await becomes('closed@example.com', 'found', change)
    })

    if (isEverywhere) return
    test('a container enters the base and leaves it', async () => {
      await directory.add({ ...entry('far', 'far@example.com'), in: 'two' })
      await directory.moveContainer('one')
      await becomes('far@example.com', 'found', 20_000)
      await directory.moveContainer('base')
      await becomes('far@example.com', 'absent', 20_000)
      assert.equal(await list.ask('stays7@example.com'), 'found')
    })
  })
}

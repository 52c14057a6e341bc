// A mailbox that moves to another server, on real directories: the list says so in time, whichever way the
// directory tells of it, and goes on saying it while the directory is away. Nothing is asked live.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import type { Mailbox } from '../../../plugins/gal-relay/routing/mailbox'
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

interface Way {
  readonly feed: string
  readonly kind: DirectoryKind
  /** Attributes that name the host and the routing address; those of Exchange are not in every schema. */
  readonly host: string
  readonly address: string
  /** Changes are told, however seldom it is asked; else they are found within `changes_every`. */
  readonly isTold: boolean
  settings(directory: TestDirectory): Promise<Partial<LdapSettings>>
}

const OPEN = { host: 'mailHost', address: 'mailRoutingAddress' }
const ACTIVE = { host: 'department', address: 'company' }

const WAYS: readonly Way[] = [
  {
    ...OPEN,
    feed: 'syncrepl',
    kind: OPENLDAP,
    isTold: true,
    settings: async (directory) => directory.settings(),
  },
  {
    ...OPEN,
    feed: 'syncrepl',
    kind: DS389,
    // It says nothing of entries that move with their container, and so all are read as often.
    isTold: false,
    settings: async (directory) => directory.settings(),
  },
  {
    ...OPEN,
    feed: 'timestamps',
    kind: {
      ...OPENLDAP,
      name: 'OpenLDAP without syncprov',
      start: (options) => OPENLDAP.start({ ...options, syncprov: false }),
    },
    isTold: false,
    settings: async (directory) => directory.settings(),
  },
  {
    ...ACTIVE,
    feed: 'dirsync',
    kind: ACTIVE_DIRECTORY,
    isTold: true,
    settings: async (directory) => directory.settings(),
  },
  {
    ...ACTIVE,
    feed: 'usn',
    kind: { ...ACTIVE_DIRECTORY, name: 'Active Directory, ordinary account' },
    // Not that an entry is gone.
    isTold: false,
    settings: async (directory) => ({ ...directory.settings(), ...(await directory.ordinary()) }),
  },
]

describe('a mailbox moves', { concurrency: 2 }, () => {
  for (const { kind, feed, isTold, settings, host, address } of WAYS) {
    describe(`${kind.name}, changes by ${feed}`, { skip: kind.skip, concurrency: 1 }, () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const file = path.join(folder, 'list')
      const routed = {
        mode: 'snapshot',
        recipient_delimiter: '+',
        host_attribute: host,
        routing_attribute: address,
      } as const
      let directory: TestDirectory
      let list: TestList
      let live: TestList

      const entry = (name: string, more: Record<string, string> = {}, ...also: string[]) =>
        ({
          name,
          in: 'one',
          kind: 'contact',
          attributes: {
            proxyAddresses: [name, ...also].map((one) => `smtp:${one}@example.com`),
            ...more,
          },
        }) satisfies TestEntry

      async function mailbox(name: string, of = list): Promise<Mailbox | undefined | string> {
        const answer = await of.answer(`${name}@example.com`)
        return answer.state === 'found' ? answer.mailbox : answer.state
      }

      /** By itself, without asking; and a look-up says the same. */
      async function becomes(name: string, expected: Mailbox | undefined): Promise<void> {
        await until(async () => isDeepStrictEqual(await mailbox(name), expected))
        assert.deepEqual(await mailbox(name, live), expected)
      }

      before(async () => {
        directory = await kind.start()
        await directory.add(
          entry('ann', { [host]: 'EX01' }, 'ann.adams'),
          entry('bob', { [host]: 'EX01', [address]: 'SMTP:bob@cloud.test' }),
          entry('cat'),
        )
        const ldap = await settings(directory)
        const below = { ...ldap, base: (ldap.base ?? []).map((dn) => `ou=one,${dn}`) }
        // Seldom enough that a change which nobody tells of would not be seen.
        list = testList(below, routed, { file, changes_every: isTold ? 60_000 : 3000 })
        live = testList(below, { ...routed, mode: 'live' })
        list.start()
        await until(() => list.report().snapshot?.isCurrent === true)
        assert.equal(list.report().snapshot?.feed, feed)
      })
      after(async () => {
        await Promise.all([list?.close(), live?.close()])
        await directory?.stop()
        rmSync(folder, { recursive: true, force: true })
      })

      test('and the list says so, until it says nothing', async () => {
        await becomes('ann', { host: 'EX01' })
        await becomes('ann.adams+news', { host: 'EX01' })
        await becomes('bob', { host: 'EX01', address: 'bob@cloud.test' })
        await becomes('cat', undefined)

        await directory.modify(entry('ann'), { [host]: 'EX02' })
        await becomes('ann', { host: 'EX02' })
        await becomes('ann.adams', { host: 'EX02' })
        await directory.modify(entry('bob'), { [address]: 'robert@cloud.test' })
        await becomes('bob', { host: 'EX01', address: 'robert@cloud.test' })
        await directory.modify(entry('cat'), { [address]: 'cat@cloud.test' })
        await becomes('cat', { address: 'cat@cloud.test' })
        await directory.modify(entry('cat'), { [address]: [] })
        await becomes('cat', undefined)
      })

      test('two entries contradict each other, and do not any more', async () => {
        const other = entry('dan', {}, 'ann')
        await directory.add(other)
        await becomes('ann', { isAmbiguous: true })
        await directory.modify(other, { [host]: 'ex02' })
        await until(async () => {
          const said = await mailbox('ann')
          return typeof said === 'object' && said.host?.toLowerCase() === 'ex02'
        })
        await directory.modify(other, { [host]: 'EX03' })
        await becomes('ann', { isAmbiguous: true })
        await directory.remove(other)
        await becomes('ann', { host: 'EX02' })
      })

      test('the directory is gone, and the list still says it', async () => {
        const { asked } = list.report().snapshot ?? {}
        await directory.stop()
        assert.equal(await mailbox('ann', live), 'unavailable')
        assert.deepEqual(await mailbox('ann+news'), { host: 'EX02' })
        assert.deepEqual(await mailbox('bob'), { host: 'EX01', address: 'robert@cloud.test' })
        assert.equal(await mailbox('cat'), undefined)
        assert.equal(list.report().snapshot?.asked, asked)
      })
    })
  }
})

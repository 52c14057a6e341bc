// How far a process relies on the list that it has in memory: only on what was confirmed a moment ago,
// whatever clocks, sleeping machines and other processes do.
import assert from 'node:assert/strict'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AddressList, GalAnswer } from '../../../plugins/gal-relay/gal/address-list'
import { listDefinition } from '../../../plugins/gal-relay/gal/directory/list-definition'
import { SnapshotWriter } from '../../../plugins/gal-relay/gal/snapshot/file'
import type { Batch } from '../../../plugins/gal-relay/gal/snapshot/file-format'
import { fingerprintOf } from '../../../plugins/gal-relay/gal/snapshot/fingerprint'
import { Follower } from '../../../plugins/gal-relay/gal/snapshot/follower'
import { MembershipBuilder } from '../../../plugins/gal-relay/gal/snapshot/membership'
import { SnapshotList } from '../../../plugins/gal-relay/gal/snapshot/snapshot-list'
import { recipientOf } from '../../../plugins/gal-relay/routing/recipient'
import { until } from '../../support/until'
import { GAL, LDAP, type RecordedLog, recordedLog, SNAPSHOT } from '../lists'

const FINGERPRINT = fingerprintOf(listDefinition(GAL, LDAP))
const NONE = new Uint32Array(0)
const CURRENT_FOR = 60_000
const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

function damage(file: string, at: number): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, '?', at)
  closeSync(descriptor)
}

describe('a follower', () => {
  const now = Date.now
  const monotonic = performance.now
  let folder: string
  let file: string
  let writer: SnapshotWriter
  let follower: Follower
  let log: RecordedLog
  let wallOffset = 0
  let monotonicOffset = 0

  const builder = new MembershipBuilder()
  builder.add(Buffer.from('1'), ['known@corp.test', 'user@corp.test'], false)
  builder.add(Buffer.from('2'), ['closed@corp.test'], true)
  const membership = builder.build()

  const create = (confirmedAt: number) => {
    const meta = { key: membership.key, fingerprint: FINGERPRINT, takenAt: Date.now() }
    return SnapshotWriter.create(file, meta, membership.table, confirmation(confirmedAt))
  }
  const confirmation = (confirmedAt: number): Batch => ({
    added: NONE,
    removed: NONE,
    confirmedAt,
    feed: 1,
  })
  /** The directory confirms the list, and the follower has heard of it. */
  async function confirm(at = Date.now()): Promise<void> {
    await writer.append(confirmation(at))
    await until(() => follower.asOf === at)
  }

  beforeEach(async () => {
    wallOffset = 0
    monotonicOffset = 0
    mock.method(Date, 'now', () => now() + wallOffset)
    mock.method(performance, 'now', () => monotonic.call(performance) + monotonicOffset)
    folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    file = path.join(folder, 'list')
    log = recordedLog()
    writer = await create(Date.now())
    follower = new Follower({
      file,
      fingerprint: FINGERPRINT,
      currentFor: CURRENT_FOR,
      log,
    })
    await follower.start()
  })

  afterEach(async () => {
    mock.restoreAll()
    await Promise.all([follower.close(), writer.close()])
    rmSync(folder, { recursive: true })
  })

  test('does not take a list for current that it only finds, however young it looks', async () => {
    assert.equal(follower.hasList, true)
    assert.equal(follower.isCurrent, false)
    await confirm(Date.now() + 1)
    assert.equal(follower.isCurrent, true)
  })

  test('takes a list that comes while it watches for current', async () => {
    const former = writer
    writer = await create(Date.now() + 1)
    await former.close()
    await until(() => follower.isCurrent)
  })

  test('what was appended is damaged: it is said, and the file taken away while it grows', async () => {
    await confirm(Date.now() + 1)
    const { size } = writer
    await writer.append(confirmation(Date.now() + 2))
    damage(file, size + 20)
    await sleep(1000)
    monotonicOffset += 10_000
    await sleep(1000)
    assert.ok(existsSync(file))
    await writer.append(confirmation(Date.now() + 3))
    await until(() => !existsSync(file))
    await until(() => log.lines.some((line) => /^error .* is damaged and was removed/.test(line)))
    assert.equal(follower.addresses, 3)
    const former = writer
    writer = await create(Date.now() + 4)
    await former.close()
    await until(() => follower.isCurrent)
  })

  test('relies on it no longer than said', async () => {
    await confirm(Date.now() + 1)
    wallOffset += CURRENT_FOR - 5000
    monotonicOffset += CURRENT_FOR - 5000
    assert.equal(follower.isCurrent, true)
    wallOffset += 10_000
    monotonicOffset += 10_000
    assert.equal(follower.isCurrent, false)
  })

  test('the machine slept: the clock that only goes forward stood still', async () => {
    await confirm(Date.now() + 1)
    wallOffset += 10 * MINUTE
    assert.equal(follower.isCurrent, false)
  })

  test('the wall clock was set back while nothing was confirmed', async () => {
    await confirm(Date.now() + 1)
    monotonicOffset += 10 * MINUTE
    assert.equal(follower.isCurrent, false)
  })

  test('the wall clock is set back or forward: current again with the next confirmation', async () => {
    await confirm(Date.now() + 1)
    for (const jump of [-60 * MINUTE, 60 * MINUTE]) {
      wallOffset += jump
      assert.equal(follower.isCurrent, false)
      await writer.append(confirmation(Date.now()))
      await until(() => follower.isCurrent)
    }
  })

  test('the feed was lost', async () => {
    await confirm(Date.now() + 1)
    await writer.append(confirmation(0))
    await until(() => !follower.isCurrent)
    assert.ok(follower.asOf > 0)
  })

  test('half a batch is as good as none, until the rest has come', async () => {
    const { open } = await import('node:fs/promises')
    await confirm(Date.now() + 1)
    await writer.append(confirmation(Date.now() + 2))
    await writer.close()
    const handle = await open(file, 'r+')
    const { size } = await handle.stat()
    await handle.truncate(size - 20)
    await handle.close()
    wallOffset += CURRENT_FOR + 5000
    await new Promise((resolve) => setTimeout(resolve, 600))
    assert.equal(follower.hasList, true)
    assert.equal(follower.isCurrent, false)
  })

  describe('and the list that is asked', () => {
    let asked: string[]
    let list: SnapshotList

    const live: AddressList = {
      start() {},
      async lookup({ local }): Promise<GalAnswer> {
        asked.push(local)
        return { state: 'unavailable', reason: 'away' }
      },
      async close() {},
    }
    const ask = async (local: string) => {
      const answer = await list.lookup(recipientOf(local, 'corp.test'))
      return answer.state === 'found' && answer.authenticatedOnly ? 'closed' : answer.state
    }

    beforeEach(() => {
      asked = []
      const settings = {
        gal: { ...GAL, recipient_delimiter: '+' },
        ldap: LDAP,
        snapshot: { ...SNAPSHOT, file },
      }
      list = new SnapshotList(live, settings, recordedLog())
    })
    afterEach(() => list.close())

    test('finds what an old list holds, and asks for the rest', async () => {
      assert.equal(await ask('known'), 'found')
      assert.equal(await ask('Closed'), 'closed')
      assert.equal(await ask('user+tag'), 'found')
      assert.deepEqual(asked, [])
      assert.equal(await ask('unknown'), 'unavailable')
      assert.equal(await ask('unknown+tag'), 'unavailable')
      assert.deepEqual(asked, ['unknown', 'unknown+tag'])
    })

    test('knows what a current list does not hold', async () => {
      await ask('known')
      await confirm(Date.now() + 1)
      await until(() => list.report().isCurrent)
      assert.equal(await ask('unknown'), 'absent')
      assert.equal(await ask('unknown+tag'), 'absent')
      assert.equal(await ask('user%other.test'), 'absent')
      assert.deepEqual(asked, [])
    })

    test('does not use a list for longer than it may be used', async () => {
      await ask('known')
      wallOffset += 6 * DAY
      assert.equal(await ask('known'), 'found')
      wallOffset += 2 * DAY
      assert.equal(await ask('known'), 'unavailable')
      assert.deepEqual(asked, ['known'])
    })

    test('does not use a list that was made by a clock far ahead', async () => {
      await ask('known')
      wallOffset -= DAY
      assert.equal(await ask('known'), 'unavailable')
      assert.deepEqual(asked, ['known'])
      await confirm(Date.now() + DAY + 10)
      wallOffset += DAY
      assert.equal(await ask('known'), 'found')
    })
  })
})

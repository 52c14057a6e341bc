// Exactly one of several takes the lease; when its holder dies another one does, and whoever lost it
// learns that.
import assert from 'node:assert/strict'
import {
  chmodSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Lease } from '../../../plugins/gal-relay/gal/snapshot/lease'
import { until } from '../../support/until'

describe('the lease', () => {
  let folder: string
  let file: string
  let held: Set<number>
  let errors: Error[]
  let leases: Lease[]

  const contend = (name: number) => {
    const lease = new Lease({
      file,
      onHeld: () => held.add(name),
      onLost: () => held.delete(name),
      onError: (error) => errors.push(error),
    })
    leases.push(lease)
    lease.start()
    return lease
  }

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lease-'))
    file = path.join(folder, 'lock')
    held = new Set()
    errors = []
    leases = []
  })
  afterEach(async () => {
    for (const lease of leases) lease.close()
    await sleep(100)
    rmSync(folder, { recursive: true })
  })

  test('one of many has it, the next one when it is given up', async () => {
    for (let name = 0; name < 5; name++) contend(name)
    await until(() => held.size === 1)
    await sleep(2500)
    assert.equal(held.size, 1)
    const [first = 0] = held
    leases[first]?.close()
    held.delete(first)
    await until(() => held.size === 1)
    assert.ok(!held.has(first))
    assert.deepEqual(errors, [])
  })

  test('a dead holder’s is taken over by exactly one, and nothing is left behind', async () => {
    symlinkSync('somebody-dead', file)
    for (let name = 0; name < 5; name++) contend(name)
    await sleep(2500)
    assert.equal(held.size, 0)
    await until(() => held.size > 0)
    // Others may believe so too, for a moment.
    await sleep(2500)
    await until(() => held.size === 1)
    assert.deepEqual(readdirSync(folder), ['lock'])
  })

  test('who lost it learns that, and does not take it away from the new holder at the end', async () => {
    const lease = contend(0)
    await until(() => held.has(0))
    unlinkSync(file)
    symlinkSync('somebody-else', file)
    await until(() => held.size === 0)
    lease.close()
    assert.equal(readlinkSync(file), 'somebody-else')
  })

  const asRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' }
  const STRANGER = 54_321

  test('a link that another user keeps fresh is told of, and not taken over', asRoot, async () => {
    symlinkSync('somebody-else', file)
    lchownSync(file, STRANGER, STRANGER)
    const touching = setInterval(() => lutimesSync(file, new Date(), new Date()), 300)
    try {
      contend(0)
      await until(() => errors.length > 0)
      // Longer than what nobody touches is left alone.
      await sleep(6000)
      assert.equal(errors.length, 1)
      assert.match(
        String(errors[0]),
        /a process of user 54321, .* holds .*\/lock: end that process/,
      )
      assert.equal(held.size, 0)
      assert.equal(readlinkSync(file), 'somebody-else')
    } finally {
      clearInterval(touching)
    }
    await until(() => held.has(0))
  })

  test('one that another user has left behind is taken over', asRoot, async () => {
    symlinkSync('somebody-dead', file)
    lchownSync(file, STRANGER, STRANGER)
    contend(0)
    await until(() => held.has(0))
    assert.deepEqual(errors, [])
    assert.equal(lstatSync(file).uid, 0)
  })

  test('nothing is held in a folder where others may write', async () => {
    chmodSync(folder, 0o1777)
    contend(0)
    await until(() => errors.length > 0)
    assert.match(String(errors[0]), /others may write to the folder .*mode 1777\): chmod go-w/)
    assert.deepEqual([held.size, readdirSync(folder).length], [0, 0])
    chmodSync(folder, 0o755)
    await until(() => held.has(0))
  })

  test('a folder that cannot be written is told of once', async () => {
    file = path.join(folder, 'missing', 'lock')
    contend(0)
    await until(() => errors.length > 0)
    await sleep(2500)
    assert.equal(errors.length, 1)
    assert.match(String(errors[0]), /ENOENT/)
  })
})

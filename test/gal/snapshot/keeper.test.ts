// Which lists are put in force and which are not, and what happens to the one in force.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { listDefinition } from '../../../plugins/gal-relay/gal/directory/list-definition'
import { NOT_IN_LIST } from '../../../plugins/gal-relay/gal/snapshot/address-table'
import { readListInForce } from '../../../plugins/gal-relay/gal/snapshot/in-force'
import { Keeper, Refused } from '../../../plugins/gal-relay/gal/snapshot/keeper'
import type { Entry } from '../../../plugins/gal-relay/ldap/entry'
import type { SnapshotSettings } from '../../../plugins/gal-relay/settings/settings'
import { until } from '../../support/until'
import { GAL, LDAP, type RecordedLog, recordedLog, SNAPSHOT } from '../lists'

const LIST = listDefinition(GAL, LDAP)
const id = (n: number) => Buffer.from(`entry ${n}`)
const entry = (...addresses: string[]): Entry => ({
  dn: 'cn=somebody',
  attributes: [{ type: 'mail', values: addresses.map((address) => Buffer.from(address)) }],
})

describe('a keeper', () => {
  let folder: string
  let snapshot: SnapshotSettings
  let log: RecordedLog
  let keepers: Keeper[]

  function keeper(before?: number, { force = false, changes = true } = {}): Keeper {
    const one = new Keeper({ list: LIST, snapshot, before, force, log })
    one.feed = changes ? 'syncrepl' : 'none'
    keepers.push(one)
    return one
  }
  /** A list of so many recipients. */
  async function kept(count: number, before?: number, options = {}): Promise<Keeper> {
    const one = keeper(before, options)
    for (let n = 0; n < count; n++) one.entry(id(n), entry(`user${n}@corp.test`))
    await one.complete()
    return one
  }
  const inForce = () => readListInForce(LIST, snapshot)
  const holds = async (address: string) => (await inForce()).find(address) !== NOT_IN_LIST

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    snapshot = { ...SNAPSHOT, file: path.join(folder, 'kept', 'list'), shrink_limit: 0.2 }
    mkdirSync(path.dirname(snapshot.file))
    log = recordedLog()
    keepers = []
  })
  afterEach(async () => {
    for (const one of keepers) await one.end()
    rmSync(folder, { recursive: true })
  })

  test('puts a list in force that is not confirmed yet, and confirms it', async () => {
    const one = await kept(10)
    assert.equal((await inForce()).count, 10)
    assert.equal((await inForce()).confirmedAt, 0)
    await one.confirmed(1234)
    assert.equal((await inForce()).confirmedAt, 1234)
  })

  test('refuses a list without recipients', async () => {
    await assert.rejects(kept(0), /shows no recipients at all/)
    await assert.rejects(kept(0, 1), Refused)
    await kept(0, undefined, { force: true })
    assert.equal((await inForce()).count, 0)
  })

  test('refuses a list that has shrunk by more than shrink_limit', async () => {
    await kept(100)
    const before = readFileSync(snapshot.file)
    await assert.rejects(
      kept(79, 100),
      /shows 79 recipients where there were 100.*shrink_limit \(20%\).*gal-relay sync --force/,
    )
    assert.deepEqual(readFileSync(snapshot.file), before)
    await kept(80, 100)
    assert.equal((await inForce()).count, 80)
    await kept(5, 80, { force: true })
    assert.equal((await inForce()).count, 5)
  })

  test('takes one recipient less for meant, however few there are', async () => {
    await kept(1, 2)
    await assert.rejects(kept(1, 3), Refused)
  })

  test('does not follow changes that take away too much', async () => {
    const one = await kept(1000)
    await one.confirmed(1)
    for (let n = 0; n < 201; n++) one.gone(id(n))
    await assert.rejects(one.confirmed(2), /shows 799 recipients where there were 1000/)
    assert.equal((await inForce()).count, 1000)
    assert.equal((await inForce()).confirmedAt, 1)
  })

  test('counts what goes while it looks at the file', async () => {
    const one = await kept(1000)
    for (let n = 0; n < 200; n++) one.gone(id(n))
    const confirmed = one.confirmed(1)
    await Promise.resolve()
    for (let n = 200; n < 300; n++) one.gone(id(n))
    await assert.rejects(confirmed, /shows 700 recipients where there were 1000/)
    await one.end()
    assert.equal((await inForce()).count, 1000)
    assert.equal((await inForce()).heldAgainst, 1000)
  })

  test('follows ordinary removals, also in a small list', async () => {
    const one = await kept(20)
    for (let n = 0; n < 15; n++) one.gone(id(n))
    await one.confirmed(1)
    assert.equal((await inForce()).count, 5)
  })

  test('does not follow removals to the last recipient, however few there were', async () => {
    const one = await kept(80)
    for (let n = 0; n < 80; n++) one.gone(id(n))
    await assert.rejects(one.confirmed(1), /shows no recipients at all/)
    assert.equal((await inForce()).count, 80)
  })

  test('takes those that a comparison misses for a list that has shrunk', async () => {
    const one = await kept(80)
    const missing = (count: number) => {
      const comparison = one.compare()
      for (let n = count; n < 80; n++) comparison.seen(id(n))
      return comparison.end()
    }
    missing(16)
    await one.confirmed(1)
    assert.throws(() => missing(17), /shows 63 recipients where there were 80/)
    await assert.rejects(one.confirmed(2), /shows 63 recipients/)
    await one.end()
    assert.equal((await inForce()).count, 64)
  })

  test('writes the list anew when its file is taken away', async () => {
    const one = await kept(10)
    rmSync(snapshot.file)
    await one.confirmed(2)
    assert.equal((await inForce()).count, 10)
    assert.equal((await inForce()).confirmedAt, 2)
  })

  test('ends when another list has been put in force', async () => {
    const one = await kept(10)
    await kept(12)
    await assert.rejects(one.confirmed(1), /another list has been put in force/)
    assert.equal((await inForce()).count, 12)
  })

  test('goes on while the list cannot be written, and writes it when it can', async () => {
    const { file } = snapshot
    const one = await kept(10)
    await one.confirmed(1)
    // Gone, and with it the place to write a new one to.
    renameSync(path.dirname(file), `${path.dirname(file)}.away`)
    await one.confirmed(2)
    assert.match(one.unwritten ?? '', /ENOENT/)

    const other = keeper()
    for (let n = 0; n < 10; n++) other.entry(id(n), entry(`user${n}@corp.test`))
    await other.complete()
    assert.match(other.unwritten ?? '', /ENOENT/)
    other.entry(id(3), entry('changed@corp.test'))
    await other.confirmed(3)
    await other.confirmed(4)
    assert.equal(log.lines.filter((line) => line.startsWith('error')).length, 2)
    mkdirSync(path.dirname(file))
    await other.confirmed(5)
    assert.equal(other.unwritten, undefined)
    assert.ok(await holds('changed@corp.test'))
    assert.ok(!(await holds('user3@corp.test')))
    assert.equal((await inForce()).confirmedAt, 5)
    assert.match(log.lines.at(-1) ?? '', /^notice .*written .* again/)
  })

  test('writes changes at once, and a list that has grown anew', async () => {
    const one = await kept(10)
    one.entry(id(11), entry('new@corp.test'))
    await until(() => holds('new@corp.test'))
    const { takenAt } = await inForce()
    const before = readFileSync(snapshot.file).length
    for (let n = 100; n < 1100; n++) one.entry(id(n), entry(`user${n}@corp.test`))
    await one.confirmed(7)
    assert.equal((await inForce()).count, 1011)
    assert.equal((await inForce()).takenAt, takenAt)
    assert.ok(readFileSync(snapshot.file).length > before + 1000 * 8)
    assert.ok(await holds('user1099@corp.test'))
  })

  test('holds the next list against what there was before too many went', async () => {
    const one = await kept(1000)
    for (let n = 0; n < 150; n++) one.gone(id(n))
    await one.confirmed(1)
    for (let n = 150; n < 250; n++) one.gone(id(n))
    await assert.rejects(one.confirmed(2), Refused)
    await one.end()
    assert.equal((await inForce()).count, 850)
    assert.equal((await inForce()).heldAgainst, 1000)
    await kept(800, (await inForce()).heldAgainst)
    assert.equal((await inForce()).heldAgainst, 800)
  })

  test('writes a list anew that goes on changing meanwhile', async () => {
    const one = await kept(5000)
    for (let n = 5000; n < 6000; n++) one.entry(id(n), entry(`user${n}@corp.test`))
    let next = 6000
    let isWritten = false
    const written = one.confirmed(7).finally(() => {
      isWritten = true
    })
    while (!isWritten) {
      one.entry(id(next), entry(`user${next++}@corp.test`))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await written
    await inForce()
    await one.confirmed(8)
    assert.equal((await inForce()).count, next)
  })

  test('compares what there is with what it holds', async () => {
    const one = await kept(10)
    const comparison = one.compare()
    for (let n = 0; n < 8; n++) comparison.seen(id(n))
    comparison.seen(id(77))
    comparison.seen(id(77))
    assert.deepEqual(comparison.end(), [id(77)])
    await one.confirmed(1)
    assert.equal((await inForce()).count, 8)
    assert.ok(!(await holds('user9@corp.test')))
  })
})

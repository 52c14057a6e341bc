// The list that the syncing process keeps, its table and the batches that mail processes apply, held
// against plain Maps and Sets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Hasher } from '../../../plugins/gal-relay/gal/snapshot/address-hash'
import {
  AddressTable,
  capacityFor,
  HI,
  IN_LIST,
  IN_LIST_AUTHENTICATED_ONLY,
  LO,
  layOut,
  NOT_IN_LIST,
  slotsFor,
} from '../../../plugins/gal-relay/gal/snapshot/address-table'
import { MembershipBuilder } from '../../../plugins/gal-relay/gal/snapshot/membership'

interface Entry {
  readonly id: number
  readonly addresses: readonly number[]
  readonly flagged: boolean
}

const entries = fc.record({
  id: fc.nat({ max: 12 }),
  addresses: fc.uniqueArray(fc.nat({ max: 20 }), { maxLength: 5 }),
  flagged: fc.boolean(),
})

const idOf = (id: number) => Buffer.from([id, 0, 0, 0, 7])
const addressOf = (address: number) => `user${address}@corp.test`

/** What the directory says, worked out anew each time. */
function answer(directory: ReadonlyMap<number, Entry>, address: number): number {
  const holders = [...directory.values()].filter((entry) => entry.addresses.includes(address))
  if (holders.length === 0) return NOT_IN_LIST
  return holders.every((entry) => entry.flagged) ? IN_LIST_AUTHENTICATED_ONLY : IN_LIST
}

function copyOf(table: AddressTable): AddressTable {
  return new AddressTable(table.slots.slice(), table.capacity, table.count)
}

test('after any changes the table, and a follower that applies them, say what the entries say', () => {
  fc.assert(
    fc.property(
      fc.array(entries, { maxLength: 12 }),
      fc.array(fc.array(entries, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
      (first, steps) => {
        const directory = new Map<number, Entry>()
        const builder = new MembershipBuilder()
        for (const entry of first) {
          if (directory.has(entry.id)) continue
          directory.set(entry.id, entry)
          builder.add(idOf(entry.id), entry.addresses.map(addressOf), entry.flagged)
        }
        const membership = builder.build()
        const follower = copyOf(membership.table)
        const hasher = new Hasher(membership.key)
        const check = () => {
          for (let address = 0; address <= 20; address++) {
            const { hi, lo } = hasher.address(addressOf(address))
            const expected = answer(directory, address)
            assert.equal(membership.table.find(hi, lo), expected)
            assert.equal(follower.find(hi, lo), expected)
          }
          assert.equal(membership.table.count, follower.count)
        }
        check()
        for (const step of steps) {
          for (const entry of step) {
            directory.set(entry.id, entry)
            membership.set(idOf(entry.id), entry.addresses.map(addressOf), entry.flagged)
          }
          const { added, removed } = membership.takeChanges()
          for (let at = 0; at < added.length; at += 2) {
            assert.ok(follower.add(added[at] as number, added[at + 1] as number))
          }
          for (let at = 0; at < removed.length; at += 2) {
            follower.remove(removed[at] as number, removed[at + 1] as number)
          }
          check()
        }
        assert.equal(membership.hasChanges, false)
      },
    ),
    { numRuns: 500 },
  )
})

test('the same entry read twice, as overlapping bases bring it, counts once', () => {
  const builder = new MembershipBuilder()
  builder.add(idOf(1), ['a@corp.test'], false)
  builder.add(idOf(1), ['a@corp.test'], false)
  const membership = builder.build()
  membership.set(idOf(1), [], false)
  const { added, removed } = membership.takeChanges()
  assert.equal(added.length, 0)
  assert.equal(removed.length, 2)
  assert.equal(membership.table.count, 0)
})

test('changes that cancel out are none', () => {
  const builder = new MembershipBuilder()
  builder.add(idOf(1), ['a@corp.test'], false)
  const membership = builder.build()
  membership.set(idOf(2), ['b@corp.test'], false)
  membership.set(idOf(2), [], false)
  membership.set(idOf(1), ['a@corp.test'], false)
  const { added } = membership.takeChanges()
  assert.equal(added.length, 0)
})

// Few upper halves make long runs, many equal halves, and runs over the last home.
const crowded = fc.record({
  hi: fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1),
  lo: fc.integer({ min: 1, max: 40 }).map((n) => n * 2),
  flag: fc.nat({ max: 1 }),
  remove: fc.boolean(),
})

test('a crowded table finds exactly what was added and not removed', () => {
  fc.assert(
    fc.property(fc.array(crowded, { maxLength: 60 }), (steps) => {
      const capacity = 64
      const table = new AddressTable(new Uint32Array(slotsFor(capacity) * 2), capacity, 0)
      const model = new Map<string, number>()
      for (const { hi, lo, flag, remove } of steps) {
        const name = `${hi} ${lo}`
        if (remove) {
          assert.equal(table.remove(hi, lo), model.delete(name))
        } else {
          assert.ok(table.add(hi, lo | flag))
          model.set(name, flag)
        }
        assert.equal(table.count, model.size)
        for (const hi of [0, 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1]) {
          for (let lo = 2; lo <= 80; lo += 2) {
            assert.equal(table.find(hi, lo), model.get(`${hi} ${lo}`) ?? NOT_IN_LIST)
          }
        }
      }
      const packed = table.packed()
      assert.deepEqual([...packed], [...packed].sort(compare))
      assert.equal(layOut(packed).count, model.size)
    }),
    { numRuns: 300 },
  )
})

const compare = (one: bigint, other: bigint) => (one < other ? -1 : one > other ? 1 : 0)

test('a table of 200,000 finds all of them, nothing else, in less than ten bytes each', () => {
  const count = 200_000
  const words = new Uint32Array(count * 2)
  const hasher = new Hasher(Buffer.alloc(16, 3))
  for (let i = 0; i < count; i++) {
    const { hi, lo } = hasher.address(addressOf(i))
    words[i * 2 + HI] = hi
    words[i * 2 + LO] = lo
  }
  const table = layOut(new BigUint64Array(words.buffer).sort())
  assert.equal(table.capacity, capacityFor(count))
  for (let i = 0; i < 2 * count; i++) {
    const { hi, lo } = hasher.address(addressOf(i))
    assert.equal(table.find(hi, lo), i < count ? IN_LIST : NOT_IN_LIST)
  }
  assert.ok(table.slots.byteLength / count < 10)
})

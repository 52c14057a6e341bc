// When everything is compared again: as often as the changes are looked for, unless that takes long.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Comparisons } from '../../../plugins/gal-relay/gal/feeds/change-feed'

const EVERY = 3000

test('at most a quarter of the time is spent on it, and none is put off longer than it must be', async (t) => {
  let now = 1_000_000
  t.mock.method(performance, 'now', () => now)
  const comparisons = new Comparisons()
  const taking = (milliseconds: number) => () =>
    comparisons.run(async () => {
      now += milliseconds
    })
  /** The look is over; the next one comes when it should. */
  const next = () => {
    const wait = comparisons.wait(EVERY)
    now += wait
    return wait
  }

  for (const short of [10, 300, 1000]) {
    assert.equal(await taking(short)(), true, `${short} ms`)
    assert.equal(next(), EVERY)
  }
  assert.equal(await taking(1200)(), true)
  assert.equal(next(), EVERY, 'changes are looked for in between')
  assert.equal(await taking(10)(), false)
  assert.equal(next(), 600)
  assert.equal(await taking(10)(), true)
  assert.equal(next(), EVERY)

  assert.equal(await taking(3000)(), true)
  const waits: number[] = []
  do {
    waits.push(next())
  } while (!(await taking(10)()))
  assert.deepEqual(waits, [EVERY, EVERY, EVERY])
})

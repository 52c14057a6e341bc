// Nothing that runs outside of Haraka's hooks may end the server, so all such work is started with the
// functions of plugins/gal-relay/guard.ts. This test reads the code and finds work that is not.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { before, describe, test } from 'node:test'
import { failed, guard, later, onFailure, unattended } from '../plugins/gal-relay/guard'
import { REPOSITORY } from './support/haraka'
import { type Found, type GuardedWork, inspectCode, SAMPLES } from './support/unguarded'

describe('the code', () => {
  let unguarded: readonly Found[]
  let work: readonly GuardedWork[]
  before(async () => {
    ;({ unguarded, work } = await inspectCode())
  })

  test('starts no work that nobody waits for without a guard', () => {
    assert.deepEqual(
      unguarded.map(({ at, text, why }) => `${at}: ${text}: ${why}`),
      [],
    )
  })

  test('is searched for all kinds of such work', async () => {
    const lines = readFileSync(path.join(REPOSITORY, SAMPLES), 'utf8').split('\n')
    const marked = lines.flatMap((line, i) =>
      /\/\/ found$/.test(line) ? [`${SAMPLES}:${i + 1}`] : [],
    )
    const found = await inspectCode(SAMPLES)
    assert.ok(marked.length > 10)
    assert.deepEqual([...new Set(found.unguarded.map(({ at }) => at))], marked)
    assert.deepEqual(
      found.work.map(({ what }) => what),
      ['a', 'b', 'c'],
    )
  })

  test('gives each guarded work a name of its own', () => {
    const names = work.map(({ what }) => what)
    assert.ok(names.length > 50, String(names.length))
    const twice = work.filter(({ what }, place) => names.indexOf(what) !== place)
    assert.deepEqual(twice, [])
  })
})

describe('a failure', () => {
  const reported: [string, unknown][] = []
  before(() => onFailure((what, error) => reported.push([what, error])))

  const error = new Error('of the test')
  const fail = () => {
    throw error
  }
  const reject = async () => fail()

  for (const [how, work] of Object.entries({ thrown: fail, rejected: reject })) {
    test(`that is ${how} is reported, and the recovery gets it with the work's arguments`, async () => {
      reported.length = 0
      const given = await new Promise((resolve) => {
        const listener = guard<[string, number]>('the work', work, (...all) => resolve(all))
        listener('a', 1)
      })
      assert.deepEqual(given, [error, 'a', 1])
      assert.deepEqual(reported, [['the work', error]])
    })

    test(`that is ${how} in a timer is reported`, async () => {
      reported.length = 0
      await new Promise<unknown>((resolve) => later(1, 'the timer', work, resolve))
      assert.deepEqual(reported, [['the timer', error]])
    })

    test(`of the recovery that is ${how} is reported too`, async () => {
      reported.length = 0
      unattended('the work', fail, work)
      await new Promise(setImmediate)
      assert.deepEqual(reported, [
        ['the work', error],
        ['the work', error],
      ])
    })
  }

  test('of the log itself is ignored', () => {
    onFailure(fail)
    failed('the work', error)
    unattended('the work', fail)
  })
})

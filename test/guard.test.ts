// Nothing that runs outside of Haraka's hooks may end the server: all such work is started with what
// plugins/gal-relay/guard.ts has. Whatever is not is found here, from the code.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { before, describe, test } from 'node:test'
import { failed, guard, later, onFailure, unattended } from '../plugins/gal-relay/guard'
import { REPOSITORY } from './support/haraka'
import { type Found, type GuardedWork, inspectCode } from './support/unguarded'

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

  test('is looked through for all kinds of it', async () => {
    const samples = 'test/support/unguarded-samples.ts'
    const lines = readFileSync(path.join(REPOSITORY, samples), 'utf8').split('\n')
    const marked = lines.flatMap((line, i) =>
      /\/\/ found$/.test(line) ? [`${samples}:${i + 1}`] : [],
    )
    const found = await inspectCode(new RegExp(`^${samples}$`))
    assert.ok(marked.length > 10)
    assert.deepEqual([...new Set(found.unguarded.map(({ at }) => at))], marked)
    assert.deepEqual(
      found.work.map(({ what }) => what),
      ['a', 'b', 'c'],
    )
  })

  test('names each of them once', () => {
    const names = work.map(({ what }) => what)
    assert.ok(names.length > 50, String(names.length))
    const twice = work.filter(({ what }, place) => names.indexOf(what) !== place)
    assert.deepEqual(twice, [])
  })
})

describe('a failure', () => {
  const told: [string, unknown][] = []
  before(() => onFailure((what, error) => told.push([what, error])))

  const error = new Error('of the test')
  const fail = () => {
    throw error
  }
  const reject = async () => fail()

  for (const [how, work] of Object.entries({ thrown: fail, rejected: reject })) {
    test(`that is ${how} is told of, and the recovery gets it with what the work was given`, async () => {
      told.length = 0
      const given = await new Promise((resolve) => {
        const listener = guard<[string, number]>('the work', work, (...all) => resolve(all))
        listener('a', 1)
      })
      assert.deepEqual(given, [error, 'a', 1])
      assert.deepEqual(told, [['the work', error]])
    })

    test(`that is ${how} in a timer is told of`, async () => {
      told.length = 0
      await new Promise<unknown>((resolve) => later(1, 'the timer', work, resolve))
      assert.deepEqual(told, [['the timer', error]])
    })

    test(`of the recovery that is ${how} is told of too`, async () => {
      told.length = 0
      unattended('the work', fail, work)
      await new Promise(setImmediate)
      assert.deepEqual(told, [
        ['the work', error],
        ['the work', error],
      ])
    })
  }

  test('of the log is the end of it', () => {
    onFailure(fail)
    failed('the work', error)
    unattended('the work', fail)
  })
})

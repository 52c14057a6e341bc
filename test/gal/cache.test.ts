// What the cache may answer by itself, with a clock that the test turns.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AddressList, GalAnswer } from '../../plugins/gal-relay/gal/address-list'
import { CachedList } from '../../plugins/gal-relay/gal/cache'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import type { GalSettings } from '../../plugins/gal-relay/settings/settings'
import { GAL } from './lists'

const FOUND: GalAnswer = { state: 'found', authenticatedOnly: false }
const ABSENT: GalAnswer = { state: 'absent' }
const AWAY: GalAnswer = { state: 'unavailable', reason: 'away' }

/** A cache over a list that answers what the test says. */
function cacheOf(settings: Partial<GalSettings> = {}) {
  let answer = (_local: string): GalAnswer | Promise<GalAnswer> => FOUND
  let now = 0
  const asked: string[] = []
  const list: AddressList = {
    start() {},
    async lookup({ local }) {
      asked.push(local)
      return answer(local)
    },
    async close() {},
  }
  const gal = { ...GAL, cache_found: 1000, cache_absent: 100, cache_stale: 5000, ...settings }
  const cache = new CachedList(list, gal, () => now)
  return {
    cache,
    asked,
    answers: (next: typeof answer) => {
      answer = next
    },
    pass: (milliseconds: number) => {
      now += milliseconds
    },
    ask: async (local: string) => (await cache.lookup(recipientOf(local, 'example.com'))).state,
  }
}

test('found and absent answers are kept for their own times', async () => {
  const { ask, asked, answers, pass } = cacheOf()
  answers((local) => (local === 'alice' ? FOUND : ABSENT))
  assert.equal(await ask('alice'), 'found')
  assert.equal(await ask('ALICE'), 'found')
  assert.equal(await ask('nobody'), 'absent')
  assert.equal(await ask('nobody'), 'absent')
  assert.deepEqual(asked, ['alice', 'nobody'])
  pass(100)
  await ask('alice')
  await ask('nobody')
  assert.deepEqual(asked, ['alice', 'nobody', 'nobody'])
  pass(900)
  await ask('alice')
  assert.deepEqual(asked, ['alice', 'nobody', 'nobody', 'alice'])
})

test('a kept answer is there at once', async () => {
  const { cache, ask } = cacheOf()
  await ask('alice')
  const alice = recipientOf('alice', 'example.com')
  assert.deepEqual(cache.lookup(alice), { state: 'found', authenticatedOnly: false })
})

test('the same local part at another domain is another address', async () => {
  const { cache, ask, answers } = cacheOf()
  await ask('alice')
  answers(() => ABSENT)
  const other = recipientOf('alice', 'example.net')
  const states = async () => [(await cache.lookup(other)).state, await ask('alice')]
  assert.deepEqual(await states(), ['absent', 'found'])
  assert.deepEqual(await states(), ['absent', 'found'])
})

test('one search at a time for the same address', async () => {
  const { ask, asked, answers } = cacheOf()
  let settle = (_: GalAnswer) => {}
  answers(() => new Promise((resolve) => (settle = resolve)))
  const all = ['alice', 'Alice', 'ALICE'].map(ask)
  settle(FOUND)
  assert.deepEqual(await Promise.all(all), ['found', 'found', 'found'])
  assert.deepEqual(asked, ['alice'])
})

test('unavailable is never kept', async () => {
  const { ask, asked, answers } = cacheOf()
  answers(() => AWAY)
  assert.equal(await ask('alice'), 'unavailable')
  answers(() => FOUND)
  assert.equal(await ask('alice'), 'found')
  assert.equal(asked.length, 2)
})

test('while no server can be asked, who was found is found for some time longer', async () => {
  const { ask, answers, pass, cache } = cacheOf()
  assert.equal(await ask('alice'), 'found')
  answers(() => AWAY)
  pass(1000)
  assert.equal(await ask('alice'), 'found')
  pass(4999)
  assert.equal(await ask('alice'), 'found')
  assert.equal(cache.report().stale, 2)
  pass(1)
  assert.equal(await ask('alice'), 'unavailable')
})

test('an answer past its time is not given while a server can be asked', async () => {
  const { ask, answers, pass } = cacheOf()
  assert.equal(await ask('alice'), 'found')
  pass(1000)
  answers(() => ABSENT)
  assert.equal(await ask('alice'), 'absent')
  answers(() => AWAY)
  pass(100)
  assert.equal(await ask('alice'), 'unavailable')
})

test('that an address was absent is no reason to refuse it later', async () => {
  const { ask, answers, pass } = cacheOf()
  answers(() => ABSENT)
  assert.equal(await ask('new'), 'absent')
  answers(() => AWAY)
  pass(100)
  assert.equal(await ask('new'), 'unavailable')
})

test('found again after absent', async () => {
  const { ask, answers, pass } = cacheOf()
  answers(() => ABSENT)
  assert.equal(await ask('new'), 'absent')
  pass(100)
  answers(() => FOUND)
  assert.equal(await ask('new'), 'found')
  pass(99)
  assert.equal(await ask('new'), 'found')
})

test('endless absent addresses neither push out found ones nor grow the cache', async () => {
  const { ask, asked, answers, cache } = cacheOf({ cache_size: 100 })
  answers((local) => (local.startsWith('user') ? FOUND : ABSENT))
  for (let i = 0; i < 100; i++) await ask(`user${i}`)
  for (let i = 0; i < 10_000; i++) await ask(`nobody${i}`)
  const before = asked.length
  for (let i = 0; i < 100; i++) assert.equal(await ask(`user${i}`), 'found')
  assert.equal(asked.length, before)
  const { found, absent } = cache.report()
  assert.deepEqual({ found, absent }, { found: 100, absent: 100 })
  // The last hundred are kept, and none before.
  await ask('nobody9900')
  assert.equal(asked.length, before)
  await ask('nobody9899')
  assert.equal(asked.length, before + 1)
})

test('when there are too many, those that were not used for longest go', async () => {
  const { ask, asked, pass } = cacheOf({ cache_size: 10, cache_found: 3_600_000 })
  for (let i = 0; i < 10; i++) await ask(`user${i}`)
  pass(60_000)
  await ask('user0')
  for (let i = 10; i < 19; i++) await ask(`user${i}`)
  const before = asked.length
  await ask('user0')
  assert.equal(asked.length, before)
  await ask('user1')
  assert.equal(asked.length, before + 1)
})

test('no times, no cache', async () => {
  const { ask, asked } = cacheOf({ cache_found: 0, cache_absent: 0, cache_stale: 0 })
  await ask('alice')
  await ask('alice')
  assert.equal(asked.length, 2)
})

test('a look-up that failed is made again', async () => {
  const { ask, answers } = cacheOf()
  answers(() => {
    throw new Error('of the test')
  })
  await assert.rejects(ask('alice'))
  answers(() => FOUND)
  assert.equal(await ask('alice'), 'found')
})

test('what is forgotten is asked anew, and nothing else is', async () => {
  const { cache, ask, asked, answers } = cacheOf()
  const alice = recipientOf('ALICE', 'example.com')
  answers((local) => (local === 'nobody' ? ABSENT : FOUND))
  for (const local of ['alice', 'bob', 'nobody']) await ask(local)
  answers((local) => (local === 'alice' ? ABSENT : FOUND))
  assert.equal(cache.forget(alice), true)
  assert.equal(cache.forget(recipientOf('nobody', 'example.com')), true)
  assert.equal(cache.forget(recipientOf('alice', 'example.net')), false)
  assert.equal(await ask('alice'), 'absent')
  assert.equal(await ask('nobody'), 'found')
  assert.equal(await ask('bob'), 'found')
  assert.deepEqual(asked, ['alice', 'bob', 'nobody', 'alice', 'nobody'])
  assert.equal(cache.forget(alice), true)
  assert.equal(cache.forget(alice), false)
})

test('a forgotten answer is not used while the directory is away', async () => {
  const { cache, ask, answers } = cacheOf()
  await ask('alice')
  cache.forget(recipientOf('alice', 'example.com'))
  answers(() => AWAY)
  assert.equal(await ask('alice'), 'unavailable')
})

test('a look-up that is under way when its recipient is forgotten is not remembered', async () => {
  const { cache, ask, asked, answers } = cacheOf()
  let answerFirst = (_answer: GalAnswer) => {}
  answers(() => new Promise<GalAnswer>((resolve) => (answerFirst = resolve)))
  const first = ask('alice')
  assert.equal(cache.forget(recipientOf('alice', 'example.com')), true)
  answers(() => ABSENT)
  assert.equal(await ask('alice'), 'absent')
  answerFirst(FOUND)
  assert.equal(await first, 'found')
  assert.equal(await ask('alice'), 'absent')
  assert.deepEqual(asked, ['alice', 'alice'])
})

// No more whole lists are read at a time than that, and one that is slow keeps no other from its turn.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ReadingTurns } from '../../../plugins/gal-relay/gal/snapshot/reading-turns'

const { signal } = new AbortController()

test('so many at a time, in their order', async () => {
  const turns = new ReadingTurns(3)
  const order: number[] = []
  let [reading, most] = [0, 0]
  const read = async (number: number) => {
    const end = await turns.take(new AbortController().signal)
    order.push(number)
    most = Math.max(most, ++reading)
    await sleep(5)
    reading--
    end()
    // Once is enough.
    end()
  }
  const all = Array.from({ length: 20 }, (_, number) => number)
  await Promise.all(all.map(read))
  assert.equal(most, 3)
  assert.deepEqual(order, all)
})

test('one that takes long does not count any more', async () => {
  const turns = new ReadingTurns(1, 50)
  const end = await turns.take(signal)
  const next = await turns.take(signal)
  end()
  let isThird = false
  const third = turns.take(signal).then((endOfThird) => {
    isThird = true
    return endOfThird
  })
  await sleep(5)
  assert.equal(isThird, false)
  next()
  ;(await third)()
})

test('who is not wanted any more leaves, and takes nobody’s turn', async () => {
  const turns = new ReadingTurns(1)
  const end = await turns.take(signal)
  const leaving = new AbortController()
  const waiting = turns.take(leaving.signal)
  const next = turns.take(signal)
  leaving.abort(new Error('no longer wanted'))
  await assert.rejects(waiting, /no longer wanted/)
  await assert.rejects(turns.take(leaving.signal), /no longer wanted/)
  end()
  ;(await next)()
})

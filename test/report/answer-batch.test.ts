// Answers are counted, logged and kept together, some milliseconds later: nothing is lost by that, and
// nothing within a transaction changes places.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnswerBatch } from '../../plugins/gal-relay/report/answer-batch'
import { Counts } from '../../plugins/gal-relay/report/counts'
import { RefusalFields } from '../../plugins/gal-relay/report/refusal'
import { INTERNAL_ERROR, MIXED_DEFERRED } from '../../plugins/gal-relay/routing/decide'
import { until } from '../support/until'

const fieldsOf = (client: string) =>
  new RefusalFields(
    { client, host: '', helo: '', account: '', sender: '', listener: '10.0.0.5:25' },
    'refused ',
  )

const LATER = { ...MIXED_DEFERRED, reply: { ...MIXED_DEFERRED.reply, text: 'later' } }
const AGAIN = { ...MIXED_DEFERRED, reply: { ...MIXED_DEFERRED.reply, text: 'again' } }
const SORRY = { ...INTERNAL_ERROR, reply: { ...INTERNAL_ERROR.reply, text: 'sorry' } }

function startBatch(timestamps = false) {
  const counts = new Counts()
  const written: string[] = []
  const batch = new AnswerBatch(counts, { timestamps, write: (lines) => written.push(lines) })
  return { counts, written, batch }
}

test('lines, counts and the last refusals are those of the answers, in the order of their transaction', () => {
  const { counts, written, batch } = startBatch()
  const [one, two] = [fieldsOf('192.0.2.1'), fieldsOf('192.0.2.2')]
  batch.accepted('a', { ...MIXED_DEFERRED, rule: 'in-gal' })
  batch.refused(one, 'a', LATER, true, 'x@in.test')
  batch.refused(two, 'b', LATER, true, 'y@in.test')
  batch.refused(one, 'a', LATER, true, 'a b@in.test')
  batch.refused(one, 'a', LATER, true, '')
  batch.refused(two, 'b', AGAIN, true, 'z@in.test')
  batch.refused(two, 'b', AGAIN, false, 'unseen@in.test')
  batch.refused(two, 'b', SORRY, true, 'x@in.test')
  batch.refused(two, 'b', LATER, true, 'y@in.test')
  batch.accepted('b', { ...MIXED_DEFERRED, rule: 'in-gal' })
  batch.accepted('b', { ...MIXED_DEFERRED, rule: 'in-gal' })
  assert.deepEqual(written, [])
  batch.flush()
  batch.refused(one, 'a', LATER, true, 'x@in.test')
  batch.flush()

  const lines = written.join('\n').split('\n')
  assert.deepEqual(
    lines.map((line) =>
      line.replace(/^refused client=| host="".*recipient=| listener=.*rule=|reply=/g, ' '),
    ),
    [
      ' 192.0.2.1 x@in.test mixed  "452 4.5.3 later"',
      ' 192.0.2.1 "a b@in.test" mixed  "452 4.5.3 later"',
      ' 192.0.2.1 "" mixed  "452 4.5.3 later"',
      ' 192.0.2.2 y@in.test mixed  "452 4.5.3 later"',
      ' 192.0.2.2 z@in.test mixed  "452 4.5.3 again"',
      ' 192.0.2.2 x@in.test internal-error  "451 4.3.0 sorry"',
      ' 192.0.2.2 y@in.test mixed  "452 4.5.3 later"',
      ' 192.0.2.1 x@in.test mixed  "452 4.5.3 later"',
    ],
  )
  const { answers, refusals } = counts.report()
  assert.deepEqual(
    answers.map(({ listener, rule, count }) => [listener, rule, count]),
    [
      ['a', 'in-gal', 1],
      ['a', 'mixed', 4],
      ['b', 'in-gal', 2],
      ['b', 'mixed', 4],
      ['b', 'internal-error', 1],
    ],
  )
  assert.deepEqual(
    refusals.map(({ client, recipient, rule, reply }) => [client, recipient, rule, reply]),
    [
      ['192.0.2.1', 'x@in.test', 'mixed', '452 4.5.3 later'],
      ['192.0.2.1', 'a b@in.test', 'mixed', '452 4.5.3 later'],
      ['192.0.2.1', '', 'mixed', '452 4.5.3 later'],
      ['192.0.2.2', 'y@in.test', 'mixed', '452 4.5.3 later'],
      ['192.0.2.2', 'z@in.test', 'mixed', '452 4.5.3 again'],
      ['192.0.2.2', 'unseen@in.test', 'mixed', '452 4.5.3 again'],
      ['192.0.2.2', 'x@in.test', 'internal-error', '451 4.3.0 sorry'],
      ['192.0.2.2', 'y@in.test', 'mixed', '452 4.5.3 later'],
      ['192.0.2.1', 'x@in.test', 'mixed', '452 4.5.3 later'],
    ],
  )
})

test('by itself, before a moment has passed, and again for what comes then', async () => {
  const { written, batch } = startBatch(true)
  const from = [fieldsOf('192.0.2.1'), fieldsOf('192.0.2.2')]
  for (let i = 0; i < 2; i++) {
    for (const [n, to] of ['x@in.test', 'y@in.test', 'z@in.test'].entries()) {
      batch.refused(from[n >> 1] as RefusalFields, 'a', MIXED_DEFERRED, true, to)
    }
    await until(() => written.length > i, 5000)
    // Whoever writes puts a time before the first line.
    const lines = (written[i] ?? '').split('\n')
    assert.match(lines[0] ?? '', /^refused client=192\.0\.2\.1 .*x@in\.test/)
    assert.match(lines[1] ?? '', /^\d{4}-\d\d-\S+Z refused client=192\.0\.2\.1 .*y@in\.test/)
    assert.match(lines[2] ?? '', /^\d{4}-\d\d-\S+Z refused client=192\.0\.2\.2 .*z@in\.test/)
    assert.equal(lines.length, 3)
  }
})

test('at once where there are many', () => {
  const { counts, written, batch } = startBatch()
  const from = fieldsOf('192.0.2.1')
  for (let i = 0; i < 1000; i++) batch.refused(from, 'a', LATER, true, `x${i}@in.test`)
  assert.ok(written.length > 1)
  const numbers = () =>
    written.flatMap((lines) => lines.split('\n').map((line) => /x(\d+)@/.exec(line)?.[1]))
  const isTold = numbers().length
  assert.ok(isTold > 500 && isTold <= 1000)
  batch.flush()
  assert.deepEqual(
    numbers(),
    Array.from({ length: 1000 }, (_, i) => String(i)),
  )
  assert.equal(counts.report().answers[0]?.count, 1000)
})

test('refusals are kept while somebody may look at them, and counted and logged in any case', () => {
  let isLookedAt = false
  const counts = new Counts(() => isLookedAt)
  const written: string[] = []
  const batch = new AnswerBatch(counts, {
    timestamps: false,
    write: (lines) => written.push(lines),
  })
  const from = fieldsOf('192.0.2.1')
  for (const to of ['before@in.test', 'after@in.test']) {
    batch.refused(from, 'a', LATER, true, to)
    batch.flush()
    isLookedAt = true
  }
  const { answers, refusals } = counts.report()
  assert.deepEqual(
    refusals.map(({ recipient }) => recipient),
    ['after@in.test'],
  )
  assert.equal(answers[0]?.count, 2)
  assert.equal(written.length, 2)
})

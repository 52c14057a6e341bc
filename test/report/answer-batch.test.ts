// Answers are counted, logged and kept together, some milliseconds later: nothing is lost or changes
// places by that.
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

function startBatch(timestamps = false) {
  const counts = new Counts()
  const written: string[] = []
  const batch = new AnswerBatch(counts, { timestamps, write: (lines) => written.push(lines) })
  return { counts, written, batch }
}

test('lines, counts and the last refusals are those of the answers, in their order', () => {
  const { counts, written, batch } = startBatch()
  const [one, two] = [fieldsOf('192.0.2.1'), fieldsOf('192.0.2.2')]
  batch.accepted('a', { ...MIXED_DEFERRED, rule: 'in-gal' })
  batch.refused('a', MIXED_DEFERRED, one, 'x@in.test', '452 later', true)
  batch.refused('a', MIXED_DEFERRED, two, 'y@in.test', '452 later', true)
  batch.refused('a', MIXED_DEFERRED, one, 'a b@in.test', '452 later', true)
  batch.refused('b', MIXED_DEFERRED, two, 'z@in.test', '452 later', true)
  batch.refused('b', MIXED_DEFERRED, two, 'unseen@in.test', '452 later', false)
  batch.refused('b', INTERNAL_ERROR, two, 'x@in.test', '451 sorry', true)
  batch.accepted('b', { ...MIXED_DEFERRED, rule: 'in-gal' })
  batch.accepted('b', { ...MIXED_DEFERRED, rule: 'in-gal' })
  assert.deepEqual(written, [])
  batch.flush()

  const lines = written.join('\n').split('\n')
  assert.deepEqual(
    lines.map((line) =>
      line.replace(/^refused client=| host="".*recipient=| listener=.*rule=|reply=/g, ' '),
    ),
    [
      ' 192.0.2.1 x@in.test mixed  "452 later"',
      ' 192.0.2.2 y@in.test mixed  "452 later"',
      ' 192.0.2.1 "a b@in.test" mixed  "452 later"',
      ' 192.0.2.2 z@in.test mixed  "452 later"',
      ' 192.0.2.2 x@in.test internal-error  "451 sorry"',
    ],
  )
  const { answers, refusals } = counts.report()
  assert.deepEqual(
    answers.map(({ listener, rule, count }) => [listener, rule, count]),
    [
      ['a', 'in-gal', 1],
      ['a', 'mixed', 3],
      ['b', 'in-gal', 2],
      ['b', 'mixed', 2],
      ['b', 'internal-error', 1],
    ],
  )
  assert.deepEqual(
    refusals.map(({ client, recipient, rule }) => [client, recipient, rule]),
    [
      ['192.0.2.1', 'x@in.test', 'mixed'],
      ['192.0.2.2', 'y@in.test', 'mixed'],
      ['192.0.2.1', 'a b@in.test', 'mixed'],
      ['192.0.2.2', 'z@in.test', 'mixed'],
      ['192.0.2.2', 'unseen@in.test', 'mixed'],
      ['192.0.2.2', 'x@in.test', 'internal-error'],
    ],
  )
})

test('by itself, before a moment has passed, and again for what comes then', async () => {
  const { written, batch } = startBatch(true)
  for (let i = 0; i < 2; i++) {
    for (const to of ['x@in.test', 'y@in.test']) {
      batch.refused('a', MIXED_DEFERRED, fieldsOf('192.0.2.1'), to, '452 later', true)
    }
    await until(() => written.length > i, 5000)
    // Whoever writes puts a time before the first line.
    assert.match(written[i] ?? '', /^refused .*x@in\.test.*\n\d{4}-\d\d-\S+Z refused .*y@in\.test/)
  }
})

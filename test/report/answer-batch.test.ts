// Answers are counted, logged and kept together, some milliseconds later: nothing is lost or changes
// places by that.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Alike, AnswerBatch } from '../../plugins/gal-relay/report/answer-batch'
import { Counts } from '../../plugins/gal-relay/report/counts'
import { RefusalFields } from '../../plugins/gal-relay/report/refusal'
import {
  INTERNAL_ERROR,
  MIXED_DEFERRED,
  type Refused,
} from '../../plugins/gal-relay/routing/decide'
import { until } from '../support/until'

const fieldsOf = (client: string) =>
  new RefusalFields(
    { client, host: '', helo: '', account: '', sender: '', listener: '10.0.0.5:25' },
    'refused ',
  )

const alike = (
  listener: string,
  verdict: Refused,
  reply: string,
  but: Partial<Alike> = {},
): Alike => ({
  ...{ listener, verdict, reply, isLogged: true },
  ...but,
})

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
  batch.refused(alike('a', MIXED_DEFERRED, '452 later'), one, 'x@in.test')
  batch.refused(alike('a', MIXED_DEFERRED, '452 later'), two, 'y@in.test')
  batch.refused(alike('a', MIXED_DEFERRED, '452 later'), one, 'a b@in.test')
  batch.refused(alike('b', MIXED_DEFERRED, '452 later'), two, 'z@in.test')
  batch.refused(alike('b', MIXED_DEFERRED, '452 later', { isLogged: false }), two, 'unseen@in.test')
  batch.refused(alike('b', INTERNAL_ERROR, '451 sorry'), two, 'x@in.test')
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
      batch.refused(alike('a', MIXED_DEFERRED, '452 later'), fieldsOf('192.0.2.1'), to)
    }
    await until(() => written.length > i, 5000)
    // Whoever writes puts a time before the first line.
    assert.match(written[i] ?? '', /^refused .*x@in\.test.*\n\d{4}-\d\d-\S+Z refused .*y@in\.test/)
  }
})

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { SnapshotReport } from '../../plugins/gal-relay/gal/snapshot/snapshot-list'
import { Counts } from '../../plugins/gal-relay/report/counts'
import {
  mergeHistories,
  NO_HISTORY,
  processReport,
  reportOf,
} from '../../plugins/gal-relay/report/install'
import { registryOf } from '../../plugins/gal-relay/report/metrics'
import { type Sample, sum } from '../../plugins/gal-relay/report/samples'
import { Tally } from '../../plugins/gal-relay/report/tally'
import type { Verdict } from '../../plugins/gal-relay/routing/decide'
import { busyInstall } from '../support/install-report'

const ACCEPTED: Verdict = { accept: true, rule: 'in-gal', path: 'queue', hops: [] }
const REFUSED: Verdict = {
  accept: false,
  rule: 'not-in-gal',
  reply: { code: 550, status: [1, 1], text: 'Recipient unknown' },
}
const DEFERRED: Verdict = {
  accept: false,
  rule: 'mixed',
  reply: { code: 452, status: [5, 3], text: 'later' },
}
const NOW = Date.now()
const PROCESS = { startedAt: 0, settingsSince: 0, reloadFailedAt: undefined, reloadProblems: [] }
const refusal = (recipient: string) => ({
  client: '192.0.2.1',
  host: '',
  helo: '',
  account: '',
  sender: '',
  recipient,
  listener: '10.0.0.5:25',
  rule: 'not-in-gal',
  reply: '550',
})

const lines = async (counts: Counts, ...more: Counts[]) => {
  const processes = [counts, ...more].map((one) => processReport(one.report(), [], [], PROCESS))
  return (await registryOf(reportOf(processes), NOW).metrics()).split('\n')
}

describe('metrics', () => {
  test('tell answers apart by listener, mode, verdict, code and rule', async () => {
    const counts = new Counts()
    for (let i = 0; i < 3; i++) counts.answered('*:*', 'enforce', ACCEPTED)
    counts.answered('*:*', 'enforce', REFUSED)
    counts.answered('*:587', 'observe', REFUSED)
    counts.answered('*:*', 'enforce', DEFERRED)
    const { recipient, rule, reply, ...sender } = refusal('x@example.com')
    counts.differed('*:587', 'not-in-gal', 'refused', 'accepted', {
      ...{ sender, rule, reply, answered: '250', recipient },
    })
    counts.failed()
    const text = await lines(counts)
    for (const line of [
      'gal_relay_answers_total{listener="*:*",mode="enforce",verdict="accepted",code="250",rule="in-gal"} 3',
      'gal_relay_answers_total{listener="*:*",mode="enforce",verdict="refused",code="550",rule="not-in-gal"} 1',
      'gal_relay_answers_total{listener="*:587",mode="observe",verdict="refused",code="550",rule="not-in-gal"} 1',
      'gal_relay_answers_total{listener="*:*",mode="enforce",verdict="deferred",code="452",rule="mixed"} 1',
      'gal_relay_observe_differences_total{listener="*:587",rule="not-in-gal",verdict="refused",answer="accepted"} 1',
      'gal_relay_errors_total 1',
      'gal_relay_processes 1',
    ]) {
      assert.ok(text.includes(line), `${line} in\n${text.join('\n')}`)
    }
  })

  test('add up what several processes counted', async () => {
    const [one, other] = [new Counts(), new Counts()]
    one.answered('*:*', 'enforce', ACCEPTED)
    other.answered('*:*', 'enforce', ACCEPTED)
    other.answered('*:*', 'enforce', REFUSED)
    const text = await lines(one, other)
    assert.ok(text.some((line) => /verdict="accepted".* 2$/.test(line)))
    assert.ok(text.some((line) => /verdict="refused".* 1$/.test(line)))
    assert.ok(text.includes('gal_relay_processes 2'))
  })

  test('show durations as a histogram that prometheus reads: cumulative, in seconds', async () => {
    const text = await registryOf(busyInstall(NOW), NOW).metrics()
    const server = 'directory="default",server="ldaps://dc1.corp.example"'
    const name = 'gal_relay_directory_search_duration_seconds'
    const buckets = [
      ...text.matchAll(new RegExp(`${name}_bucket{${server},le="(.*)"} (\\d+)`, 'g')),
    ]
    assert.equal(buckets[0]?.[1], '0.0005')
    const values = buckets.map(([, , value]) => Number(value))
    assert.deepEqual(
      values,
      [...values].sort((a, b) => a - b),
    )
    assert.ok(text.includes(`# TYPE ${name} histogram`))
    assert.ok(text.includes(`${name}_sum{${server}} 2412`))
    assert.ok(text.includes(`${name}_count{${server}} ${values.at(-1)}`))
  })

  test('tell of the snapshot where there is one', async () => {
    const snapshot: SnapshotReport = {
      addresses: 5000,
      isCurrent: true,
      asOf: NOW - 3000,
      feed: 'dirsync',
      sync: undefined,
      answered: 10,
      asked: 2,
    }
    const text = await registryOf(busyInstall(NOW, snapshot), NOW).metrics()
    for (const line of [
      'gal_relay_snapshot_addresses{directory="default"} 5000',
      'gal_relay_snapshot_current{directory="default"} 1',
      'gal_relay_snapshot_age_seconds{directory="default"} 3',
      'gal_relay_snapshot_feed{directory="default",feed="dirsync"} 1',
    ]) {
      assert.ok(text.includes(`${line}\n`), line)
    }
    assert.doesNotMatch(
      await registryOf(busyInstall(NOW), NOW).metrics(),
      /snapshot_(age|feed|current)/,
    )
    const before = { ...snapshot, asOf: 0, isCurrent: false }
    const none = await registryOf(busyInstall(NOW, before), NOW).metrics()
    assert.match(none, /snapshot_current\{directory="default"\} 0/)
    assert.doesNotMatch(none, /snapshot_age_seconds\{directory="default"\} \d/)
  })

  test('a directory server is up only where every process has it up', async () => {
    const text = await registryOf(busyInstall(NOW), NOW).metrics()
    assert.match(
      text,
      /gal_relay_directory_up\{directory="default",server="ldaps:\/\/dc1.corp.example"\} 1/,
    )
    assert.match(
      text,
      /gal_relay_directory_up\{directory="default",server="ldaps:\/\/dc2.corp.example"\} 0/,
    )
  })
})

describe('what processes report', () => {
  test('the counters of those that ended stay in the sum', () => {
    const sample = (value: number): Sample => ({ name: 'errors', labels: {}, value })
    assert.deepEqual(sum([sample(1), sample(2), sample(3)]), [sample(6)])
    const ended = mergeHistories([{ ...NO_HISTORY, counters: [sample(4)] }])
    assert.deepEqual(reportOf([], ended).counters, [sample(4)])
  })

  test('minutes are added up by minute, and only the last hour is kept', () => {
    const minutes = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        minute: from + i,
        accepted: 1,
        refused: 2,
        deferred: 3,
      }))
    const history = mergeHistories([
      { ...NO_HISTORY, minutes: minutes(100, 60) },
      { ...NO_HISTORY, minutes: minutes(130, 60) },
    ])
    assert.equal(history.minutes.length, 60)
    assert.deepEqual(history.minutes[0], { minute: 130, accepted: 2, refused: 4, deferred: 6 })
    assert.deepEqual(history.minutes.at(-1), { minute: 189, accepted: 1, refused: 2, deferred: 3 })
  })

  test('the last two hundred refusals are kept, in order, of one process and of all', () => {
    const counts = new Counts()
    const { recipient, rule, reply, ...sender } = refusal('')
    for (let i = 0; i < 450; i++) {
      counts.refused({ sender, rule, reply, recipient: `r${i}@example.com` })
    }
    const { refusals } = counts.report()
    assert.deepEqual(
      refusals.map(({ recipient }) => recipient),
      Array.from({ length: 200 }, (_, i) => `r${250 + i}@example.com`),
    )
    const histories = [refusals.slice(0, 150), refusals.slice(50)].map((some) => {
      return { ...NO_HISTORY, refusals: some }
    })
    const all = mergeHistories(histories).refusals
    assert.equal(all.length, 200)
    assert.equal(all.at(-1)?.recipient, 'r449@example.com')
  })

  test('who is refused most is counted apart from who would be, and for all processes together', () => {
    const { recipient: _, rule, ...sender } = refusal('')
    const refused = (counts: Counts, recipient: string, times: number, answered?: string) => {
      for (let i = 0; i < times; i++) {
        const reply = '550 5.1.1 Recipient unknown'
        counts.refused({ sender, rule, reply, recipient, ...(answered && { answered }) })
      }
    }
    const [one, other] = [new Counts(), new Counts()]
    refused(one, 'A@example.com', 3)
    refused(other, 'a@EXAMPLE.com', 4)
    refused(other, 'b@example.com', 5)
    refused(one, 'c@example.com', 1, '250')
    one.refused({ sender, rule, reply: '451 4.4.3 later', recipient: 'd@example.com' })
    const reports = [one, other].map((counts) => processReport(counts.report(), [], [], PROCESS))
    const { enforce, observe } = reportOf(reports).refusedMost
    assert.deepEqual(enforce.recipients, [
      { name: 'a@example.com', count: 7 },
      { name: 'b@example.com', count: 5 },
    ])
    assert.deepEqual(enforce.clients, [{ name: '192.0.2.1', count: 12 }])
    assert.deepEqual(enforce.senderDomains, [{ name: '<>', count: 12 }])
    assert.deepEqual(observe.recipients, [{ name: 'c@example.com', count: 1 }])
  })

  test('those that keep coming are found among any number of names, in bounded memory', () => {
    const tally = new Tally(100)
    for (let i = 0; i < 20_000; i++) {
      tally.add(`made-up-${i}`)
      if (i % 10 === 0) tally.add('often')
      if (i % 25 === 0) tally.add('now and then')
    }
    const [first, second, third] = tally.largest(3)
    assert.deepEqual(first, { name: 'often', count: 2000 })
    assert.deepEqual(second, { name: 'now and then', count: 800 })
    assert.ok((third?.count ?? 0) < 3)
    assert.ok(tally.largest(1_000_000).length <= 100)
  })

  test('refusals are kept while somebody may look at them', () => {
    let isLookedAt = false
    const counts = new Counts(() => isLookedAt)
    const { recipient: _, rule, reply, ...sender } = refusal('')
    for (const recipient of ['before@in.test', 'after@in.test']) {
      counts.refused({ sender, rule, reply, recipient })
      isLookedAt = true
    }
    assert.deepEqual(
      counts.report().refusals.map(({ recipient }) => recipient),
      ['after@in.test'],
    )
  })
})

// Counters in the form that processes exchange: a name, labels, a value. The counts of several processes are
// added up by name and labels.

import type { DirectoryReport } from '../gal/directories'
import type { HarvestReport } from '../harvest/harvest'
import { DURATIONS, type ServerReport } from '../ldap/health'
import { type CountsReport, outcomeOf } from './counts'

export interface Sample {
  readonly name: CounterName
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export type CounterName =
  | 'answers'
  | 'differences'
  /** Recipients on observed listeners whose client did not wait for the answer. */
  | 'unanswered'
  | 'errors'
  | 'searches'
  /** Answered searches by `bound`, their upper limit in milliseconds; `Infinity` for the slowest. */
  | 'search_durations'
  /** Milliseconds. */
  | 'search_time'
  | 'cache_lookups'
  | 'snapshot_lookups'
  /** Harvest defence: unknown recipients counted, networks held off, replies delayed. */
  | 'harvest_unknown'
  | 'harvest_holds'
  | 'harvest_slowed'
  /** Connections and recipients of networks that are held off. */
  | 'harvest_deferred'

export function samplesOfCounts({
  answers,
  differences,
  unanswered,
  errors,
}: CountsReport): Sample[] {
  return [
    ...answers.map(({ listener, mode, rule, code, count }): Sample => {
      const labels = { listener, mode, verdict: outcomeOf(code), code: String(code), rule }
      return { name: 'answers', labels, value: count }
    }),
    ...differences.map(({ count, ...labels }): Sample => {
      return { name: 'differences', labels, value: count }
    }),
    ...unanswered.map(({ count, ...labels }): Sample => {
      return { name: 'unanswered', labels, value: count }
    }),
    { name: 'errors', labels: {}, value: errors },
  ]
}

export function samplesOfHarvest({ counted, deferred }: HarvestReport): Sample[] {
  const { unknown, held, slowed } = counted
  return [
    { name: 'harvest_unknown', labels: {}, value: unknown },
    { name: 'harvest_holds', labels: {}, value: held },
    { name: 'harvest_slowed', labels: {}, value: slowed },
    { name: 'harvest_deferred', labels: { at: 'connect' }, value: deferred.connect },
    { name: 'harvest_deferred', labels: { at: 'rcpt' }, value: deferred.rcpt },
  ]
}

export function samplesOfList(report: DirectoryReport): Sample[] {
  const { directory, servers, cache, snapshot } = report
  const lookups = { hit: cache.hits, miss: cache.misses, stale: cache.stale }
  const inMemory: Record<string, number> = snapshot
    ? { memory: snapshot.answered, directory: snapshot.asked }
    : {}
  const samples = [
    ...servers.flatMap(samplesOfServer),
    ...samplesByResult('cache_lookups', lookups),
    ...samplesByResult('snapshot_lookups', inMemory),
  ]
  return samples.map((one) => ({ ...one, labels: { directory, ...one.labels } }))
}

function samplesByResult(name: CounterName, results: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(results).map(([result, value]) => ({ name, labels: { result }, value }))
}

function samplesOfServer(report: ServerReport): Sample[] {
  const { server, searches, failures, failuresBy, durations, time } = report
  const results = { answered: searches - failures, ...failuresBy }
  return [
    ...Object.entries(results).map(([result, value]): Sample => {
      return { name: 'searches', labels: { server, result }, value }
    }),
    ...durations.map((value, index): Sample => {
      const bound = String(DURATIONS[index] ?? Number.POSITIVE_INFINITY)
      return { name: 'search_durations', labels: { server, bound }, value }
    }),
    { name: 'search_time', labels: { server }, value: time },
  ]
}

/** One sample for each name and labels, in the order of their first appearance. */
export function sum(samples: Iterable<Sample>): Sample[] {
  const sums = new Map<string, { sample: Sample; value: number }>()
  for (const sample of samples) {
    const key = JSON.stringify([sample.name, sample.labels])
    const known = sums.get(key)
    if (known) known.value += sample.value
    else sums.set(key, { sample, value: sample.value })
  }
  return [...sums.values()].map(({ sample, value }) => ({ ...sample, value }))
}

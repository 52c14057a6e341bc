// Metrics in Prometheus' text format, made from an install's report when somebody asks for them.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { DirectoryReport } from '../gal/directories'
import type { SnapshotReport } from '../gal/snapshot/snapshot-list'
import type { ServerReport } from '../ldap/health'
import type { InstallReport, ProcessReport } from './install'
import type { CounterName, Sample } from './samples'

const PREFIX = 'gal_relay_'

interface Described {
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
}

type Values = readonly Pick<Sample, 'labels' | 'value'>[]

const COUNTERS: Readonly<Partial<Record<CounterName, Described>>> = {
  answers: {
    name: 'answers_total',
    help: 'Verdicts on recipients; with mode="observe" the answer given was not ours',
    labels: ['listener', 'mode', 'verdict', 'code', 'rule'],
  },
  differences: {
    name: 'observe_differences_total',
    help: 'Recipients on observed listeners whose answer differed from the verdict',
    labels: ['listener', 'rule', 'verdict', 'answer'],
  },
  errors: {
    name: 'errors_total',
    help: 'Failures of the plugin itself, each with a stack in the log',
    labels: [],
  },
  searches: {
    name: 'directory_searches_total',
    help: 'Searches sent to directory servers, by result',
    labels: ['directory', 'server', 'result'],
  },
  cache_lookups: {
    name: 'cache_lookups_total',
    help: 'Recipients looked up in the cache, by result',
    labels: ['directory', 'result'],
  },
  snapshot_lookups: {
    name: 'snapshot_lookups_total',
    help: 'Recipients looked up in the snapshot: answered from memory, or by the directory',
    labels: ['directory', 'result'],
  },
}

const HARVEST_COUNTERS: typeof COUNTERS = {
  harvest_unknown: {
    name: 'harvest_unknown_total',
    help: 'Unknown recipients that harvest defence counted',
    labels: [],
  },
  harvest_holds: {
    name: 'harvest_holds_total',
    help: 'Networks that this server found out and held off, or would have on observed listeners',
    labels: [],
  },
  harvest_slowed: {
    name: 'harvest_slowed_total',
    help: 'Answers to unknown recipients that were given later',
    labels: [],
  },
  harvest_deferred: {
    name: 'harvest_deferred_total',
    help: 'Connections and recipients of networks that are held off, answered 421',
    labels: ['at'],
  },
}

interface GaugeOf extends Described {
  /** @param now milliseconds since 1970 */
  values(processes: readonly ProcessReport[], now: number): Values
}

const GAUGES: readonly GaugeOf[] = [
  {
    name: 'processes',
    help: 'Haraka processes that answer mail',
    labels: [],
    values: (processes) => [{ labels: {}, value: processes.length }],
  },
  {
    name: 'reload_failed',
    help: '1 when the settings in force are older than the files, because the files have a problem',
    labels: [],
    values: (processes) => {
      const failed = processes.some(({ reloadFailedAt }) => reloadFailedAt !== undefined)
      return [{ labels: {}, value: failed ? 1 : 0 }]
    },
  },
  {
    name: 'directory_up',
    help: '1 when the server answers searches from every process, or is not asked for any',
    labels: ['directory', 'server'],
    values: (processes) =>
      byServer(processes, (reports) =>
        reports.length === processes.length && reports.every(isUpOrIdle) ? 1 : 0,
      ),
  },
  {
    name: 'directory_connections',
    help: 'Open connections to the server',
    labels: ['directory', 'server'],
    values: (processes) =>
      byServer(processes, (reports) => total(reports.map(({ connections }) => connections))),
  },
  {
    name: 'directory_searches_in_flight',
    help: 'Searches that the server has not answered yet',
    labels: ['directory', 'server'],
    values: (processes) =>
      byServer(processes, (reports) => total(reports.map(({ inFlight }) => inFlight))),
  },
  {
    name: 'cache_entries',
    help: 'Answers kept, in all processes together',
    labels: ['directory', 'kind'],
    values: (processes) =>
      byDirectory(processes, (reports) => {
        const caches = reports.map(({ cache }) => cache)
        return [
          { labels: { kind: 'found' }, value: total(caches.map(({ found }) => found)) },
          { labels: { kind: 'absent' }, value: total(caches.map(({ absent }) => absent)) },
        ]
      }),
  },
]

const SNAPSHOT_GAUGES: readonly GaugeOf[] = [
  {
    name: 'snapshot_addresses',
    help: 'Addresses in the snapshot',
    labels: ['directory'],
    values: (processes) =>
      bySnapshot(processes, (reports) => [
        { labels: {}, value: Math.max(...reports.map(({ addresses }) => addresses)) },
      ]),
  },
  {
    name: 'snapshot_current',
    help: '1 when the directory has just confirmed the snapshot, in every process',
    labels: ['directory'],
    values: (processes) =>
      bySnapshot(processes, (reports) => [
        { labels: {}, value: reports.every(({ isCurrent }) => isCurrent) ? 1 : 0 },
      ]),
  },
  {
    name: 'snapshot_age_seconds',
    help: 'How long ago the snapshot was last known to be right; absent before the first one',
    labels: ['directory'],
    values: (processes, now) =>
      bySnapshot(processes, (reports) => {
        const oldest = Math.min(...reports.map(({ asOf }) => asOf))
        return oldest > 0 ? [{ labels: {}, value: (now - oldest) / 1000 }] : []
      }),
  },
  {
    name: 'snapshot_feed',
    help: '1 for the feed by which changes arrive',
    labels: ['directory', 'feed'],
    values: (processes) =>
      bySnapshot(processes, (reports) => {
        const feeds = new Set(reports.map(({ feed }) => feed))
        return [...feeds].map((feed) => ({ labels: { feed }, value: 1 }))
      }),
  },
]

const HARVEST_GAUGES: readonly GaugeOf[] = [
  {
    name: 'harvest_held_off',
    help: 'Networks that are held off now',
    labels: [],
    values: (processes) => {
      const counts = processes.flatMap(({ harvest }) => harvest?.heldNow ?? [])
      return [{ labels: {}, value: Math.max(0, ...counts) }]
    },
  },
  {
    name: 'redis_up',
    help: '1 when Redis answers every process; not there where nothing is shared',
    labels: [],
    values: (processes) => {
      const states = processes.flatMap(({ harvest }) => harvest?.redis ?? [])
      const value = states.every(({ state }) => state === 'up') ? 1 : 0
      return states.length > 0 ? [{ labels: {}, value }] : []
    },
  },
]

const snapshots = (processes: readonly ProcessReport[]) =>
  processes.flatMap(({ directories }) => directories.flatMap(({ snapshot }) => snapshot ?? []))

/** A registry of its own, so that metrics of other plugins are not among ours nor ours among theirs. */
export function registryOf({ counters, processes }: InstallReport, now: number): Registry {
  const registry = new Registry()
  const registers = [registry]
  const defends = processes.some(({ harvest }) => harvest !== undefined)
  const described = defends ? { ...COUNTERS, ...HARVEST_COUNTERS } : COUNTERS
  for (const [sampleName, { name, help, labels }] of Object.entries(described)) {
    const counter = new Counter({ name: PREFIX + name, help, labelNames: [...labels], registers })
    for (const sample of counters) {
      if (sample.name === sampleName) counter.inc(sample.labels, sample.value)
    }
  }
  registry.registerMetric(searchDurations(counters))
  const gauges = [
    ...GAUGES,
    ...(snapshots(processes).length > 0 ? SNAPSHOT_GAUGES : []),
    ...(defends ? HARVEST_GAUGES : []),
  ]
  for (const { name, help, labels, values } of gauges) {
    const current = values(processes, now)
    // One without labels would be zero by itself.
    if (current.length === 0) continue
    const gauge = new Gauge({ name: PREFIX + name, help, labelNames: [...labels], registers })
    for (const one of current) gauge.set(one.labels, one.value)
  }
  return registry
}

/** prom-client's histograms count by themselves; this one shows what has been counted elsewhere. */
class CountedHistogram extends Histogram {
  constructor(
    private readonly described: { readonly name: string; readonly help: string },
    private readonly counted: readonly {
      readonly metricName: string
      readonly labels: Readonly<Record<string, string>>
      readonly value: number
    }[],
  ) {
    super({ ...described, registers: [] })
  }

  /** What registries and `get()` ask in prom-client 15. */
  async getForPromString() {
    const values = this.counted.map((value) => ({ ...value, sharedLabels: {} }))
    return { ...this.described, type: 'histogram', aggregator: 'sum', values }
  }
}

function searchDurations(counters: readonly Sample[]): CountedHistogram {
  const name = `${PREFIX}directory_search_duration_seconds`
  const values = counters
    .filter((sample) => sample.name === 'search_time')
    .flatMap(({ labels, value: milliseconds }) => {
      const { directory = '', server = '' } = labels
      let answered = 0
      const buckets = counters
        .filter(
          (sample) =>
            sample.name === 'search_durations' &&
            sample.labels.directory === directory &&
            sample.labels.server === server,
        )
        .map(({ labels: { bound }, value }) => {
          answered += value
          const le = bound === 'Infinity' ? '+Inf' : String(Number(bound) / 1000)
          return {
            metricName: `${name}_bucket`,
            labels: { directory, server, le },
            value: answered,
          }
        })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels: { directory, server }, value: milliseconds / 1000 },
        { metricName: `${name}_count`, labels: { directory, server }, value: answered },
      ]
    })
  return new CountedHistogram({ name, help: 'How long answered searches took' }, values)
}

function byServer(
  processes: readonly ProcessReport[],
  value: (reports: readonly ServerReport[]) => number,
): Values {
  return byDirectory(processes, (reports) => {
    const all = reports.flatMap(({ servers }) => servers)
    return [...new Set(all.map(({ server }) => server))].map((server) => ({
      labels: { server },
      value: value(all.filter((report) => report.server === server)),
    }))
  })
}

/** @param values of one directory, whose name is put beside their labels */
function byDirectory(
  processes: readonly ProcessReport[],
  values: (reports: readonly DirectoryReport[]) => Values,
): Values {
  const all = processes.flatMap(({ directories }) => directories)
  const names = [...new Set(all.map(({ directory }) => directory))]
  return names.flatMap((name) => {
    const reports = all.filter(({ directory }) => directory === name)
    return values(reports).map(({ labels, value }) => ({
      labels: { directory: name, ...labels },
      value,
    }))
  })
}

const bySnapshot = (
  processes: readonly ProcessReport[],
  values: (reports: readonly SnapshotReport[]) => Values,
) =>
  byDirectory(processes, (reports) => {
    const kept = reports.flatMap(({ snapshot }) => snapshot ?? [])
    return kept.length > 0 ? values(kept) : []
  })

/** Whether an idle one would answer shows when it is asked. */
const isUpOrIdle = ({ state }: ServerReport) => state === 'up' || state === 'idle'

const total = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0)

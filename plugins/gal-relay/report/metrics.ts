// Metrics in Prometheus' text format, made from an install's report when somebody asks for them.
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
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
    help: 'Recipients on observed listeners whom Haraka answered otherwise than the verdict',
    labels: ['listener', 'rule', 'verdict', 'answer'],
  },
  errors: {
    name: 'errors_total',
    help: 'Failures of the plugin itself, each with a stack in the log',
    labels: [],
  },
  searches: {
    name: 'directory_searches_total',
    help: 'Searches sent to directory servers, by what became of them',
    labels: ['server', 'result'],
  },
  cache_lookups: {
    name: 'cache_lookups_total',
    help: 'Recipients looked up in the cache, by what was found there',
    labels: ['result'],
  },
  snapshot_lookups: {
    name: 'snapshot_lookups_total',
    help: 'Recipients looked up in the snapshot: answered from memory, or asked of the directory',
    labels: ['result'],
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
    help: '1 when the settings in force are older than the files, because these have a problem',
    labels: [],
    values: (processes) => {
      const failed = processes.some(({ reloadFailedAt }) => reloadFailedAt !== undefined)
      return [{ labels: {}, value: failed ? 1 : 0 }]
    },
  },
  {
    name: 'directory_up',
    help: '1 when the server answers searches of every process',
    labels: ['server'],
    values: (processes) =>
      byServer(processes, (reports) =>
        reports.length === processes.length && reports.every(({ state }) => state === 'up') ? 1 : 0,
      ),
  },
  {
    name: 'directory_connections',
    help: 'Open connections to the server',
    labels: ['server'],
    values: (processes) =>
      byServer(processes, (reports) => total(reports.map(({ connections }) => connections))),
  },
  {
    name: 'directory_searches_in_flight',
    help: 'Searches that the server has not answered yet',
    labels: ['server'],
    values: (processes) =>
      byServer(processes, (reports) => total(reports.map(({ inFlight }) => inFlight))),
  },
  {
    name: 'cache_entries',
    help: 'Answers kept, in all processes together',
    labels: ['kind'],
    values: (processes) => {
      const caches = processes.flatMap(({ list }) => (list ? [list.cache] : []))
      return [
        { labels: { kind: 'found' }, value: total(caches.map(({ found }) => found)) },
        { labels: { kind: 'absent' }, value: total(caches.map(({ absent }) => absent)) },
      ]
    },
  },
]

const SNAPSHOT_GAUGES: readonly GaugeOf[] = [
  {
    name: 'snapshot_addresses',
    help: 'Addresses in the snapshot',
    labels: [],
    values: (processes) => [
      { labels: {}, value: Math.max(...snapshots(processes).map(({ addresses }) => addresses)) },
    ],
  },
  {
    name: 'snapshot_current',
    help: '1 when the directory has just confirmed the snapshot, in every process',
    labels: [],
    values: (processes) => [
      { labels: {}, value: snapshots(processes).every(({ isCurrent }) => isCurrent) ? 1 : 0 },
    ],
  },
  {
    name: 'snapshot_age_seconds',
    help: 'How long ago the snapshot was last known to be right; not there before the first one',
    labels: [],
    values: (processes, now) => {
      const oldest = Math.min(...snapshots(processes).map(({ asOf }) => asOf))
      return oldest > 0 ? [{ labels: {}, value: (now - oldest) / 1000 }] : []
    },
  },
  {
    name: 'snapshot_feed',
    help: '1 for the way by which the directory tells of changes',
    labels: ['feed'],
    values: (processes) => {
      const feeds = new Set(snapshots(processes).map(({ feed }) => feed))
      return [...feeds].map((feed) => ({ labels: { feed }, value: 1 }))
    },
  },
]

const snapshots = (processes: readonly ProcessReport[]) =>
  processes.flatMap(({ list }) => list?.snapshot ?? [])

/** A registry of its own, so that metrics of other plugins are not among ours nor ours among theirs. */
export function registryOf({ counters, processes }: InstallReport, now: number): Registry {
  const registry = new Registry()
  const registers = [registry]
  for (const [sampleName, { name, help, labels }] of Object.entries(COUNTERS)) {
    const counter = new Counter({ name: PREFIX + name, help, labelNames: [...labels], registers })
    for (const sample of counters) {
      if (sample.name === sampleName) counter.inc(sample.labels, sample.value)
    }
  }
  registry.registerMetric(searchDurations(counters))
  const gauges = snapshots(processes).length > 0 ? [...GAUGES, ...SNAPSHOT_GAUGES] : GAUGES
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
      const { server = '' } = labels
      let answered = 0
      const buckets = counters
        .filter((sample) => sample.name === 'search_durations' && sample.labels.server === server)
        .map(({ labels: { bound }, value }) => {
          answered += value
          const le = bound === 'Infinity' ? '+Inf' : String(Number(bound) / 1000)
          return { metricName: `${name}_bucket`, labels: { server, le }, value: answered }
        })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels: { server }, value: milliseconds / 1000 },
        { metricName: `${name}_count`, labels: { server }, value: answered },
      ]
    })
  return new CountedHistogram({ name, help: 'How long answered searches took' }, values)
}

function byServer(
  processes: readonly ProcessReport[],
  value: (reports: readonly ServerReport[]) => number,
): Values {
  const all = processes.flatMap(({ list }) => list?.servers ?? [])
  return [...new Set(all.map(({ server }) => server))].map((server) => ({
    labels: { server },
    value: value(all.filter((report) => report.server === server)),
  }))
}

const total = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0)

// How the directory servers are, as all processes see them together, the snapshot and the cache.
import { feedText } from '../gal/feeds/table'
import type { ServerReport, ServerState } from '../ldap/health'
import type { InstallReport } from '../report/install'
import type { Sample } from '../report/samples'
import { counted } from '../report/words'
import { duration, number, share, total } from './figures'
import { type Html, html, shown } from './html'

/** One directory server as all processes see it. */
export interface Server {
  readonly directory: string
  readonly server: string
  /** The worst. */
  readonly state: ServerState
  /** How many processes see it in that state, of how many. */
  readonly seenBy: readonly [number, number]
  readonly since: number
  readonly connections: number
  readonly lastError: string | undefined
  readonly lastErrorAt: number | undefined
}

const WORST_FIRST: readonly ServerState[] = ['down', 'starting', 'up', 'idle']

export function serversOf(processes: InstallReport['processes']): Server[] {
  const reports = processes.flatMap(({ directories }) => directories)
  return [...new Set(reports.map(({ directory }) => directory))].flatMap((directory) => {
    const own = reports.filter((report) => report.directory === directory)
    const servers = own.flatMap((report) => report.servers)
    return [...new Set(servers.map(({ server }) => server))].map((name) =>
      together(
        directory,
        servers.filter(({ server }) => server === name),
      ),
    )
  })
}

function together(directory: string, reports: readonly ServerReport[]): Server {
  const state = WORST_FIRST.find((one) => reports.some((report) => report.state === one)) ?? 'up'
  const inState = reports.filter((report) => report.state === state)
  const failed = [...reports].sort((a, b) => (b.lastErrorAt ?? 0) - (a.lastErrorAt ?? 0))[0]
  return {
    directory,
    server: reports[0]?.server ?? '',
    state,
    seenBy: [inState.length, reports.length],
    since: Math.max(...inState.map(({ since }) => since)),
    connections: reports.reduce((sum, { connections }) => sum + connections, 0),
    lastError: failed?.lastError,
    lastErrorAt: failed?.lastErrorAt,
  }
}

export function directorySection({ processes, counters }: InstallReport, now: number): Html {
  const servers = serversOf(processes)
  if (servers.length === 0) return html`<p class="note">None is configured.</p>`
  const rows = servers.map((server) => serverRow(server, counters, now))
  return html`<table class="servers"><thead><tr><th>Server</th><th>State</th><th class="count">Searches</th><th class="count">Failed</th><th class="count">Mean time</th><th class="count">Connections</th><th>Last error</th></tr></thead>
<tbody>${rows}</tbody></table>
${snapshotTexts(processes, now).map((text) => html`<p class="note">${shown(text)}</p>`)}
<p class="note">${cacheText(processes, counters)}</p>`
}

function serverRow(one: Server, counters: readonly Sample[], now: number): Html {
  const { directory, server } = one
  const searches = total(counters, 'searches', { directory, server })
  const answered = total(counters, 'searches', { directory, server, result: 'answered' })
  const mean = total(counters, 'search_time', { directory, server }) / answered
  const [seen, all] = one.seenBy
  const where = seen < all ? ` in ${seen} of ${all} processes` : ''
  const error =
    one.lastError === undefined
      ? 'none'
      : `${one.lastError} (${duration(now - (one.lastErrorAt ?? now))} ago)`
  return html`<tr><th scope="row"><code>${server}</code></th>
<td data-label="State"><span class="state ${one.state}">${one.state}${where}</span> for ${duration(now - one.since)}</td>
<td class="count" data-label="Searches">${number(searches)}</td>
<td class="count" data-label="Failed">${number(searches - answered)}</td>
<td class="count" data-label="Mean time">${answered > 0 ? `${mean.toFixed(1)} ms` : '–'}</td>
<td class="count" data-label="Connections">${number(one.connections)}</td>
<td class="wide" data-label="Last error">${shown(error)}</td></tr>\n`
}

function snapshotTexts(processes: InstallReport['processes'], now: number): string[] {
  const snapshots = processes.flatMap(({ directories }) =>
    directories.flatMap(({ snapshot }) => snapshot ?? []),
  )
  const oldest = [...snapshots].sort((a, b) => a.asOf - b.asOf)[0]
  if (!oldest) return []
  const { addresses, asOf, feed } = oldest
  const current = snapshots.every(({ isCurrent }) => isCurrent)
  const state = current
    ? 'current, so that what it does not hold is answered as unknown'
    : 'not current, so that what it does not hold is asked of the directory'
  const list =
    asOf > 0
      ? `The snapshot holds ${counted(addresses, 'address', 'addresses')}, confirmed ${duration(now - asOf)} ago: ${state}. ${feedText(feed)}.`
      : 'There is no snapshot yet: every recipient is asked of the directory.'
  const sync = snapshots.flatMap((snapshot) => snapshot.sync ?? [])[0]
  if (!sync) return [list]
  const { state: doing, server, entries, readAt, readFor, lastError, lastErrorAt } = sync
  const reading =
    doing === 'reading'
      ? `The whole list is being read from ${server}: ${number(entries)} entries so far.`
      : ''
  const read =
    readAt === undefined
      ? ''
      : `It was last read whole ${duration(now - readAt)} ago${readFor === undefined ? '' : `, in ${duration(readFor)}`}.`
  const error =
    lastError === undefined
      ? ''
      : `Last error, ${duration(now - (lastErrorAt ?? now))} ago: ${lastError}`
  return [list, [reading, read, error].filter(Boolean).join(' ')]
}

function cacheText(processes: InstallReport['processes'], counters: readonly Sample[]): string {
  const caches = processes.flatMap(({ directories }) => directories.map(({ cache }) => cache))
  const found = caches.reduce((sum, cache) => sum + cache.found, 0)
  const absent = caches.reduce((sum, cache) => sum + cache.absent, 0)
  const hits = total(counters, 'cache_lookups', { result: 'hit' })
  const stale = total(counters, 'cache_lookups', { result: 'stale' })
  const lookups = hits + total(counters, 'cache_lookups', { result: 'miss' })
  const kept = `The cache keeps ${number(found)} found and ${number(absent)} absent addresses`
  const used =
    lookups > 0 ? ` and answered ${share(hits, lookups)} of ${number(lookups)} look-ups` : ''
  const old =
    stale > 0 ? `; ${number(stale)} were answered after their time, no server being up` : ''
  return `${kept}${used}${old}.`
}

// The servers of each directory as all processes see them, with its snapshot and its cache.
import { domainsText } from '../advice/directories'
import type { DirectoryReport } from '../gal/directories'
import { feedText } from '../gal/feeds/table'
import type { ServerReport, ServerState } from '../ldap/health'
import type { InstallReport } from '../report/install'
import type { Sample } from '../report/samples'
import { counted } from '../report/words'
import type { Directories } from '../settings/directories'
import { dateTime, duration, number, share, since, total } from './figures'
import { type Html, html, shown } from './html'
import { partOf } from './paging'

/** One directory server as all processes see it. */
export interface Server {
  readonly directory: string
  readonly server: string
  /** The worst state that any process sees. */
  readonly state: ServerState
  /** How many processes see the server in that state, and how many there are. */
  readonly seenBy: readonly [number, number]
  readonly since: number
  readonly connections: number
  readonly lastError: string | undefined
  readonly lastErrorAt: number | undefined
}

const WORST_FIRST: readonly ServerState[] = ['down', 'starting', 'up', 'idle']

/** What all processes report about each directory, in the order of the settings. */
function byDirectory(
  processes: InstallReport['processes'],
): ReadonlyMap<string, readonly DirectoryReport[]> {
  const reports = new Map<string, DirectoryReport[]>()
  for (const report of processes.flatMap(({ directories }) => directories)) {
    const others = reports.get(report.directory)
    if (others) others.push(report)
    else reports.set(report.directory, [report])
  }
  return reports
}

export function serversOf(processes: InstallReport['processes']): Server[] {
  return Array.from(byDirectory(processes), ([directory, reports]) =>
    serversIn(directory, reports),
  ).flat()
}

function serversIn(directory: string, reports: readonly DirectoryReport[]): Server[] {
  const servers = reports.flatMap((report) => report.servers)
  return [...new Set(servers.map(({ server }) => server))].map((name) =>
    serverOf(
      directory,
      servers.filter(({ server }) => server === name),
    ),
  )
}

function serverOf(directory: string, reports: readonly ServerReport[]): Server {
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

/** The most directories on one page; those with trouble come first. */
const ON_A_PAGE = 10

/** @param directories those of the settings in force */
export function directorySection(
  { processes, counters }: InstallReport,
  directories: Directories,
  asked: URLSearchParams,
  now: number,
): Html {
  const all = Array.from(byDirectory(processes), ([name, reports]): Directory => {
    const servers = serversIn(name, reports)
    return { name, reports, servers, isWell: servers.every(isNotDown) }
  })
  const [only] = all
  if (!only) return html`<p class="note">None is configured.</p>`
  if (all.length === 1) return directoryPart(only, counters, now)
  const ordered = [...all.filter(({ isWell }) => !isWell), ...all.filter(({ isWell }) => isWell)]
  const place = { size: ON_A_PAGE, anchor: 'directory' }
  const { shown: part, pager } = partOf(ordered, 'directories', asked, place)
  const own = countersOf(part, counters)
  return html`<p class="note">${summaryText(all)}</p>
${part.map(
  (one) => html`<h3>${one.name}</h3>
<p class="note">${domainsText(directories, one.name)}</p>
${directoryPart(one, own.get(one.name) ?? [], now)}`,
)}
${pager}`
}

interface Directory {
  readonly name: string
  /** One from each process. */
  readonly reports: readonly DirectoryReport[]
  readonly servers: readonly Server[]
  /** Whether no process sees any of its servers down. */
  readonly isWell: boolean
}

function countersOf(
  directories: readonly Directory[],
  counters: readonly Sample[],
): ReadonlyMap<string, readonly Sample[]> {
  const own = new Map(directories.map(({ name }) => [name, [] as Sample[]]))
  for (const one of counters) own.get(one.labels.directory ?? '')?.push(one)
  return own
}

const isNotDown = ({ state }: Server) => state !== 'down'

function summaryText(all: readonly Directory[]): string {
  const away = all.filter(({ servers }) => servers.length > 0 && !servers.some(isNotDown)).length
  const doubtful = all.filter(({ isWell }) => !isWell).length - away
  const trouble = [
    ...(away > 0 ? [`${number(away)} cannot be asked`] : []),
    ...(doubtful > 0 ? [`of ${number(doubtful)} a server is down`] : []),
  ]
  const state = trouble.length > 0 ? trouble.join(', ') : 'no server is down'
  return `${number(all.length)} directories: ${state}.`
}

function directoryPart(directory: Directory, counters: readonly Sample[], now: number): Html {
  const list = snapshotTexts(directory, now).map((text) => html`<p class="note">${shown(text)}</p>`)
  // A received list has no directory to ask, and no answers to cache.
  if (directory.reports.some(({ snapshot }) => snapshot?.isReceived)) return html`${list}`
  const rows = directory.servers.map((server) => serverRow(server, counters, now))
  return html`<table class="labelled"><thead><tr><th>Server</th><th>State</th><th class="count">Searches</th><th class="count">Failed</th><th class="count">Mean time</th><th class="count">Connections</th><th>Last error</th></tr></thead>
<tbody>${rows}</tbody></table>
${list}
<p class="note">${cacheText(directory, counters)}</p>`
}

function serverRow(one: Server, counters: readonly Sample[], now: number): Html {
  const { directory, server } = one
  const searches = total(counters, 'searches', { directory, server })
  const answered = total(counters, 'searches', { directory, server, result: 'answered' })
  const mean = total(counters, 'search_time', { directory, server }) / answered
  const [seen, all] = one.seenBy
  const where = seen < all ? ` in ${seen} of ${all} processes` : ''
  const error =
    one.lastError === undefined ? 'none' : `${one.lastError} (${dateTime(one.lastErrorAt ?? now)})`
  return html`<tr><th scope="row"><code>${server}</code></th>
<td data-label="State"><span class="state ${one.state}">${one.state}${where}</span> ${since(one.since, now)}</td>
<td class="count" data-label="Searches">${number(searches)}</td>
<td class="count" data-label="Failed">${number(searches - answered)}</td>
<td class="count" data-label="Mean time">${answered > 0 ? `${mean.toFixed(1)} ms` : '–'}</td>
<td class="count" data-label="Connections">${number(one.connections)}</td>
<td class="wide" data-label="Last error">${shown(error)}</td></tr>\n`
}

function snapshotTexts({ reports }: Directory, now: number): string[] {
  const snapshots = reports.flatMap(({ snapshot }) => snapshot ?? [])
  const oldest = [...snapshots].sort((a, b) => a.asOf - b.asOf)[0]
  if (!oldest) return []
  const { addresses, asOf, feed, isReceived } = oldest
  const current = snapshots.every(({ isCurrent }) => isCurrent)
  const state = current
    ? 'current, so addresses that are not in it are answered as unknown'
    : isReceived
      ? 'not current, so recipients that are not in it are deferred'
      : 'not current, so the directory is asked about addresses that are not in it'
  const list =
    asOf > 0
      ? `The snapshot holds ${counted(addresses, 'address', 'addresses')}, confirmed ${duration(now - asOf)} ago: ${state}. ${feedText(feed)}.`
      : isReceived
        ? 'No list has been received yet: every recipient is deferred.'
        : 'There is no snapshot yet: the directory is asked about every recipient.'
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
      : `It was last read in full ${duration(now - readAt)} ago${readFor === undefined ? '' : `, in ${duration(readFor)}`}.`
  const error =
    lastError === undefined
      ? ''
      : `Last error, ${duration(now - (lastErrorAt ?? now))} ago: ${lastError}`
  return [list, [reading, read, error].filter(Boolean).join(' ')]
}

function cacheText({ reports }: Directory, counters: readonly Sample[]): string {
  const caches = reports.map(({ cache }) => cache)
  const found = caches.reduce((sum, cache) => sum + cache.found, 0)
  const absent = caches.reduce((sum, cache) => sum + cache.absent, 0)
  const hits = total(counters, 'cache_lookups', { result: 'hit' })
  const stale = total(counters, 'cache_lookups', { result: 'stale' })
  const lookups = hits + total(counters, 'cache_lookups', { result: 'miss' })
  const kept = `The cache holds ${number(found)} found and ${number(absent)} absent addresses`
  const used =
    lookups > 0 ? ` and answered ${share(hits, lookups)} of ${number(lookups)} look-ups` : ''
  const old =
    stale > 0
      ? `; ${number(stale)} were answered from expired entries, because no server was up`
      : ''
  return `${kept}${used}${old}.`
}

// The status page: is all well, what has been answered, how is the directory, who may relay, whom did
// we refuse. Made whole on the server; the script only keeps it fresh and filters as one types.
import type { FeedName } from '../../gal/directory/change-feed'
import type { ServerReport, ServerState } from '../../gal/directory/health'
import type { Settings } from '../../settings/settings'
import type { Outcome, RecentRefusal } from '../counts'
import type { InstallReport } from '../install'
import { meaningOf } from '../rules'
import type { CounterName, Sample } from '../samples'
import { warnings } from '../startup'
import { counted } from '../words'
import { chart } from './chart'
import { explainForm, explainUrl, frame } from './frame'
import { type Html, html, shown } from './html'
import { relaySection } from './relay-section'

export interface Overview {
  /** The server's. */
  readonly name: string
  readonly settings: Settings
  readonly report: InstallReport
  readonly filter: Filter
  /** Milliseconds since 1970. */
  readonly now: number
}

/** What the refusals shown must contain, in any case; '' is any. */
export interface Filter {
  readonly client: string
  readonly recipient: string
  readonly rule: string
}

export function overviewPage(overview: Overview): Html {
  const { name, report, now } = overview
  const since = Math.min(now, ...report.processes.map(({ startedAt }) => startedAt))
  const processes = counted(report.processes.length, 'process', 'processes')
  return frame(
    `gal-relay on ${name}`,
    html`<header><h1>gal-relay</h1><p>${name} · <span id="fresh" data-live>${processes} · up ${duration(now - since)} · ${dateTime(now)}</span></p></header>
<main>
<div id="conditions" data-live>${conditions(overview)}</div>
<section id="answers" data-live><h2>Answers</h2>${answers(report, now)}</section>
<section id="directory" data-live><h2>Directory</h2>${directory(report, now)}</section>
<section id="relay" data-live><h2>Who may relay</h2>${relaySection(overview.settings)}</section>
<section><h2>Explain an answer</h2>${explainForm({})}</section>
<section><h2>Last refusals</h2>${filterForm(overview)}<div id="refusals" data-live>${refusals(overview)}</div></section>
</main>
<footer><a href="metrics">Metrics for Prometheus</a></footer>`,
  )
}

// ── Is all well? ─────────────────────────────────────────────────────────────────────────────────

function conditions({ settings, report, now }: Overview): Html {
  const bad = troubles(report, now)
  const doubtful = warnings(settings)
  if (bad.length + doubtful.length === 0) return html`<p class="condition good">All is well.</p>`
  return html`${bad.map((text) => html`<p class="condition bad">${shown(text)}</p>`)}${doubtful.map(
    (text) => html`<p class="condition doubtful">${text}</p>`,
  )}`
}

function troubles({ processes, counters }: InstallReport, now: number): string[] {
  const troubles: string[] = []
  const servers = serversOf(processes)
  const down = servers.filter(({ state }) => state === 'down')
  if (servers.length === 0)
    troubles.push('No directory is configured: recipients cannot be looked up.')
  else if (down.length === servers.length) {
    troubles.push(
      'No directory server can be asked: unknown answers are 451, and senders try again.',
    )
  }
  for (const { server, lastError } of down) {
    troubles.push(`Directory server ${server} is down: ${lastError ?? 'no reason known'}`)
  }
  const failed = processes.flatMap(({ reloadFailedAt }) => reloadFailedAt ?? [])
  if (failed.length > 0) {
    const ago = duration(now - Math.max(...failed))
    troubles.push(
      `The files in config/ were edited ${ago} ago and have a problem: the settings in force are older. The log names it.`,
    )
  }
  const errors = total(counters, 'errors')
  if (errors > 0) {
    troubles.push(`${counted(errors, 'failure')} of the plugin itself: see "failed:" in the log.`)
  }
  return troubles
}

// ── Answers ──────────────────────────────────────────────────────────────────────────────────────

const OUTCOMES: readonly Outcome[] = ['accepted', 'deferred', 'refused']

function answers({ counters, minutes }: InstallReport, now: number): Html {
  const figures = OUTCOMES.map((verdict) =>
    figure(verdict, total(counters, 'answers', { verdict })),
  )
  const observed = total(counters, 'answers', { mode: 'observe' })
  const differences = total(counters, 'differences')
  const all = total(counters, 'answers')
  return html`<div class="figures">${figure('all', all)}${figures}${
    observed > 0 && figure('differs', differences, 'observed otherwise')
  }</div>
${observed > 0 && html`<p class="note">${number(observed)} of these are verdicts on observed listeners, where Haraka answers by itself; it answered ${number(differences)} of them otherwise.</p>`}
${chart(minutes, now)}
${all > 0 && rules(counters, all)}`
}

const figure = (kind: string, value: number, label = kind) =>
  html`<div class="figure ${kind}"><b>${number(value)}</b><span>${label}</span></div>`

function rules(counters: readonly Sample[], all: number): Html {
  const byRule = new Map<string, { rule: string; verdict: string; value: number }>()
  for (const { name, labels, value } of counters) {
    if (name !== 'answers') continue
    const { rule = '', verdict = '' } = labels
    const known = byRule.get(rule)
    if (known) known.value += value
    else byRule.set(rule, { rule, verdict, value })
  }
  const rows = [...byRule.values()]
    .sort((a, b) => b.value - a.value)
    .map(
      ({ rule, verdict, value }) =>
        html`<tr><th scope="row" class="${verdict}"><code>${rule}</code></th><td class="wide">${meaningOf(rule).meaning}</td><td class="count" data-label="Answers">${number(value)}</td><td class="count" data-label="Share">${share(value, all)}</td></tr>\n`,
    )
  return html`<table class="rules"><thead><tr><th>Rule</th><th>Meaning</th><th class="count">Answers</th><th class="count">Share</th></tr></thead>
<tbody>${rows}</tbody></table>`
}

// ── Directory ────────────────────────────────────────────────────────────────────────────────────

/** One directory server as all processes see it. */
interface Server {
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

const WORST_FIRST: readonly ServerState[] = ['down', 'starting', 'up']

function serversOf(processes: InstallReport['processes']): Server[] {
  const reports = processes.flatMap(({ list }) => list?.servers ?? [])
  const names = [...new Set(reports.map(({ server }) => server))]
  return names.map((name) => together(reports.filter(({ server }) => server === name)))
}

function together(reports: readonly ServerReport[]): Server {
  const state = WORST_FIRST.find((one) => reports.some((report) => report.state === one)) ?? 'up'
  const inState = reports.filter((report) => report.state === state)
  const failed = [...reports].sort((a, b) => (b.lastErrorAt ?? 0) - (a.lastErrorAt ?? 0))[0]
  return {
    server: reports[0]?.server ?? '',
    state,
    seenBy: [inState.length, reports.length],
    since: Math.max(...inState.map(({ since }) => since)),
    connections: reports.reduce((sum, { connections }) => sum + connections, 0),
    lastError: failed?.lastError,
    lastErrorAt: failed?.lastErrorAt,
  }
}

function directory({ processes, counters }: InstallReport, now: number): Html {
  const servers = serversOf(processes)
  if (servers.length === 0) return html`<p class="note">None is configured.</p>`
  const rows = servers.map((server) => serverRow(server, counters, now))
  return html`<table class="servers"><thead><tr><th>Server</th><th>State</th><th class="count">Searches</th><th class="count">Failed</th><th class="count">Mean time</th><th class="count">Connections</th><th>Last error</th></tr></thead>
<tbody>${rows}</tbody></table>
${snapshotTexts(processes, now).map((text) => html`<p class="note">${shown(text)}</p>`)}
<p class="note">${cacheText(processes, counters)}</p>`
}

function serverRow(one: Server, counters: readonly Sample[], now: number): Html {
  const { server } = one
  const searches = total(counters, 'searches', { server })
  const answered = total(counters, 'searches', { server, result: 'answered' })
  const mean = total(counters, 'search_time', { server }) / answered
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

const FEED_TEXT: Readonly<Record<FeedName, string>> = {
  none: 'Nothing tells of changes: the whole list is read again',
  syncrepl: 'Changes come by content synchronization (RFC 4533)',
  dirsync: 'Changes come by DirSync',
  usn: 'Changes are found by uSNChanged',
  timestamps: 'Changes are found by modifyTimestamp',
}

function snapshotTexts(processes: InstallReport['processes'], now: number): string[] {
  const snapshots = processes.flatMap(({ list }) => list?.snapshot ?? [])
  const oldest = [...snapshots].sort((a, b) => a.asOf - b.asOf)[0]
  if (!oldest) return []
  const { addresses, asOf, feed } = oldest
  const current = snapshots.every(({ isCurrent }) => isCurrent)
  const state = current
    ? 'current, so that what it does not hold is unknown'
    : 'not current, so that what it does not hold is asked of the directory'
  const list =
    asOf > 0
      ? `The snapshot holds ${counted(addresses, 'address', 'addresses')}, confirmed ${duration(now - asOf)} ago: ${state}. ${FEED_TEXT[feed]}.`
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
  const caches = processes.flatMap(({ list }) => (list ? [list.cache] : []))
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

// ── Refusals ─────────────────────────────────────────────────────────────────────────────────────

function filterForm({ filter, report }: Overview): Html {
  const rules = [...new Set([...report.refusals.map(({ rule }) => rule), filter.rule])].filter(
    Boolean,
  )
  const options = rules
    .sort()
    .map((rule) => html`<option${rule === filter.rule && html` selected`}>${rule}</option>`)
  return html`<form id="filter" class="fields" method="get">
<label>Client<input name="client" value="${filter.client}" placeholder="address, name or account" autocomplete="off" spellcheck="false"></label>
<label>Recipient<input name="recipient" value="${filter.recipient}" placeholder="any" autocomplete="off" spellcheck="false"></label>
<label>Rule<select name="rule"><option value="">any</option>${options}</select></label>
<button>Filter</button>
</form>`
}

function refusals({ report, filter }: Overview): Html {
  const all = [...report.refusals].reverse()
  if (all.length === 0) return html`<p class="note">Nobody has been refused yet.</p>`
  const matching = all.filter((refusal) => matches(refusal, filter))
  return html`<p class="note" id="shown">${number(matching.length)} of the last ${number(all.length)}</p>
<table class="refusals"><thead><tr><th>Time</th><th>Client</th><th>Sender and recipient</th><th>Reply</th></tr></thead>
<tbody>${matching.map(refusalRow)}</tbody></table>`
}

function matches(refusal: RecentRefusal, { client, recipient, rule }: Filter): boolean {
  const holds = (text: string, part: string) => text.toLowerCase().includes(part.toLowerCase())
  return (
    holds(clientText(refusal), client) &&
    holds(refusal.recipient, recipient) &&
    (rule === '' || refusal.rule === rule)
  )
}

const clientText = ({ client, host, helo, account }: RecentRefusal) =>
  [client, host, helo, account].join(' ')

function refusalRow(refusal: RecentRefusal): Html {
  const { at, client, host, helo, account, sender, recipient, listener, rule, reply } = refusal
  const asked = { recipient, client, listener, account, sender }
  const { answered } = refusal
  return html`<tr data-client="${shown(clientText(refusal))}" data-recipient="${shown(recipient)}" data-rule="${rule}">
<td data-label="Time"><time datetime="${new Date(at).toISOString()}">${dateTime(at)}</time><small>${listener}</small></td>
<td data-label="Client"><b>${client}</b>${host && html`<small>${shown(host)}</small>`}${helo && html`<small>EHLO ${shown(helo)}</small>`}${account && html`<small>account ${shown(account)}</small>`}</td>
<td data-label="Sender and recipient"><small>from &lt;${shown(sender)}&gt;</small><b>${shown(recipient)}</b></td>
<td data-label="Reply">${reply}<small><a href="${explainUrl(asked)}"><code>${rule}</code></a></small>${
    answered !== undefined &&
    html`<small class="differs">observed; answered ${shown(answered) || 'nothing'}</small>`
  }</td>
</tr>\n`
}

// ── Words ────────────────────────────────────────────────────────────────────────────────────────

function total(
  samples: readonly Sample[],
  name: CounterName,
  labels: Readonly<Record<string, string>> = {},
): number {
  return samples
    .filter((sample) => sample.name === name)
    .filter((sample) =>
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0)
}

const number = (value: number) => value.toLocaleString('en')
const share = (part: number, of: number) =>
  part > 0 && part / of < 0.0005 ? '< 0.1 %' : `${((part / of) * 100).toFixed(1)} %`

const DATE_TIME = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: undefined,
})
const dateTime = (at: number) => DATE_TIME.format(at)

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const

/** In the largest unit of which there are at least two. */
function duration(milliseconds: number): string {
  const [unit, length] = UNITS.find(([, length]) => milliseconds >= 2 * length) ?? UNITS[3]
  return counted(Math.max(0, Math.floor(milliseconds / length)), unit)
}

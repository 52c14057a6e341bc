// The status page: is all well, what has been answered, how is the directory, who may relay, whom did
// we refuse. Made whole on the server; the script only keeps it fresh and filters as one types.

import { doubts, openRelay } from '../advice/startup'
import type { InstallReport } from '../report/install'
import { counted } from '../report/words'
import type { Settings } from '../settings/settings'
import { answersSection } from './answers-section'
import { directorySection, serversOf } from './directory-section'
import { dateTime, duration, number, total } from './figures'
import { explainForm, frame } from './frame'
import { harvestSection, sharingTroubles } from './harvest-section'
import { type Html, html, shown } from './html'
import { type Filter, filterForm, refusalsTable } from './refusals-section'
import { relaySection } from './relay-section'

export interface Overview {
  /** The server's. */
  readonly name: string
  readonly settings: Settings
  readonly report: InstallReport
  readonly filter: Filter
  /** Which page of the directories is shown, from 1 on. */
  readonly directories: number
  /** Milliseconds since 1970. */
  readonly now: number
}

export function overviewPage(overview: Overview): Html {
  const { name, settings, report, filter, directories, now } = overview
  const since = Math.min(now, ...report.processes.map(({ startedAt }) => startedAt))
  const harvest = harvestSection(report, now)
  const processes = counted(report.processes.length, 'process', 'processes')
  return frame(
    `gal-relay on ${name}`,
    html`<header><h1>gal-relay</h1><p>${name} · <span id="fresh" data-live>${processes} · up ${duration(now - since)} · ${dateTime(now)}</span></p></header>
<main>
<div id="conditions" data-live>${conditions(overview)}</div>
<section id="answers" data-live><h2>Answers</h2>${answersSection(report, now)}</section>
<section id="directory" data-live><h2>${severalDirectories(report) ? 'Directories' : 'Directory'}</h2>${directorySection(report, settings.directories, directories, now)}</section>
${
  harvest &&
  html`<section id="harvest" data-live><h2>Harvest defence</h2>${harvest}</section>
`
}<section id="relay" data-live><h2>Who may relay</h2>${relaySection(settings)}</section>
<section><h2>Explain an answer</h2>${explainForm({})}</section>
<section><h2>Last refusals</h2>${filterForm(report.refusals, filter)}<div id="refusals" data-live>${refusalsTable(report.refusals, filter)}</div></section>
</main>
<footer><a href="metrics">Metrics for Prometheus</a></footer>`,
  )
}

/** Sentences on what does harm, and on what may not be meant. */
export function conditionsOf({ settings, report, now }: Overview): {
  readonly bad: readonly string[]
  readonly doubtful: readonly string[]
} {
  const enabled = [...settings.policies.values()].filter((policy) => policy.enabled)
  const bad = [...enabled.flatMap(openRelay), ...troubles(report, now), ...sharingTroubles(report)]
  return { bad, doubtful: doubts(settings) }
}

function conditions(overview: Overview): Html {
  const { bad, doubtful } = conditionsOf(overview)
  if (bad.length + doubtful.length === 0) return html`<p class="condition good">All is well.</p>`
  return html`${bad.map((text) => html`<p class="condition bad">${shown(text)}</p>`)}${doubtful.map(
    (text) => html`<p class="condition doubtful">${text}</p>`,
  )}`
}

/** The most servers that are down that are named. */
const NAMED = 10

const severalDirectories = ({ processes }: InstallReport) =>
  processes.some(({ directories }) => directories.length > 1)

function troubles(report: InstallReport, now: number): string[] {
  const { processes, counters } = report
  const troubles: string[] = []
  const servers = serversOf(processes)
  const down = servers.filter(({ state }) => state === 'down')
  if (servers.length === 0)
    troubles.push('No directory is configured: recipients cannot be looked up.')
  else if (down.length === servers.length) {
    troubles.push(
      'No directory server can be asked: recipients that are not remembered get a 451, and senders try again.',
    )
  }
  const isOneOfSeveral = severalDirectories(report)
  for (const { directory, server, lastError } of down.slice(0, NAMED)) {
    const of = isOneOfSeveral ? ` of ${directory}` : ''
    troubles.push(`Directory server ${server}${of} is down: ${lastError ?? 'no reason known'}`)
  }
  if (down.length > NAMED) troubles.push(`${number(down.length - NAMED)} more servers are down.`)
  const failed = processes.flatMap(({ reloadFailedAt }) => reloadFailedAt ?? [])
  if (failed.length > 0) {
    const ago = duration(now - Math.max(...failed))
    troubles.push(
      `The files in config/ were edited ${ago} ago and have a problem, which the log names. The previous settings stay in force.`,
    )
  }
  const errors = total(counters, 'errors')
  if (errors > 0) {
    troubles.push(`${counted(errors, 'failure')} of the plugin itself: see "failed:" in the log.`)
  }
  return troubles
}

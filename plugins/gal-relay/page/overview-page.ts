// The status page: is all well, what was answered, how are the directories, who may relay, who was
// refused? The server renders all of it; the script only keeps it fresh.

import type { QueueReport } from '../delivery/waiting'
import type { InstallReport } from '../report/install'
import { counted } from '../report/words'
import type { Settings } from '../settings/settings'
import { answersSection } from './answers-section'
import { conditionsOf, conditionsPart } from './conditions'
import { directorySection } from './directory-section'
import { dateTime, since } from './figures'
import type { Findings } from './findings'
import { explainForm, frame } from './frame'
import { harvestSection } from './harvest-section'
import { type Html, html } from './html'
import { mostSection } from './most-section'
import { queueSection } from './queue-section'
import { filterForm, recentTable } from './refusals-section'
import { badges, relaySection } from './relay-section'
import { settingsSection } from './settings-section'

export interface Versions {
  readonly plugin: string
  readonly haraka: string
  readonly node: string
}

export interface Overview {
  /** The server's name. */
  readonly name: string
  readonly versions: Versions
  readonly settings: Settings
  readonly report: InstallReport
  readonly findings: Findings
  /** The mail that waits in the outbound queue, or why it cannot be read. */
  readonly queue: QueueReport | string
  /** The query string of the URL. */
  readonly asked: URLSearchParams
  /** Milliseconds since 1970. */
  readonly now: number
}

export function overviewPage(overview: Overview): Html {
  const { name, versions, settings, report, queue, asked, now } = overview
  const startedAt = Math.min(now, ...report.processes.map((process) => process.startedAt))
  const processes = counted(report.processes.length, 'process', 'processes')
  const { plugin, haraka, node } = versions
  return frame(
    `gal-relay on ${name}`,
    html`<header><h1>gal-relay</h1><p>${name} · <span id="fresh" data-live>${processes} up ${since(startedAt, now)} · now ${dateTime(now)}</span></p></header>
<main>
<div id="conditions" data-live>${conditionsPart(conditionsOf(overview))}</div>
<div id="listeners" data-live>${badges(settings, asked)}</div>
${section('answers', 'Answers', answersSection(report, asked, startedAt, now))}
${section('most', 'Refused and relayed most', mostSection(report))}
${section('queue', 'Waiting in the outbound queue', queueSection(queue, asked, now))}
${section('directory', directoryTitle(report), directorySection(report, settings.directories, asked, now))}
${section('harvest', 'Harvest defence', harvestSection(report, asked, now))}
${section('relay', 'Who may relay', relaySection(settings, asked))}
${section('settings', 'Settings', settingsSection(settings, report, asked, now))}
<section><h2>Explain an answer</h2>${explainForm({})}</section>
<section id="recent"><h2>Last recipients refused, or answered differently</h2>${filterForm(report, asked)}<div id="refusals" data-live>${recentTable(report, asked)}</div></section>
</main>
<footer><a href="metrics">Metrics for Prometheus</a> · <a href="status.json">this page as JSON</a> · gal-relay ${plugin}, Haraka ${haraka}, Node.js ${node}</footer>`,
  )
}

/** The section exists even if it has nothing to show yet, because that may change. */
const section = (id: string, title: string, content: Html | undefined): Html =>
  html`<section id="${id}" data-live${!content && html` hidden`}><h2>${title}</h2>${content}</section>`

const directoryTitle = ({ processes }: InstallReport) =>
  processes.some(({ directories }) => directories.length > 1) ? 'Directories' : 'Directory'

// Is all well? Conditions that harm mail are red; others that need attention are amber.
import { domainsText } from '../advice/directories'
import { judgedByAge } from '../advice/list-files'
import type { DirectoryReport } from '../gal/directories'
import type { InstallReport, ProcessReport } from '../report/install'
import { counted } from '../report/words'
import type { DirectorySettings } from '../settings/directories'
import type { Settings } from '../settings/settings'
import { visible } from '../visible'
import { serversOf } from './directory-section'
import { dateTime, duration, number, since, total } from './figures'
import type { Findings } from './findings'
import { sharingTroubles } from './harvest-section'
import { hasUsableList, silentDirectories } from './health'
import { type Html, html } from './html'

export interface Condition {
  readonly text: string
  /** The single problems, such as those of one file. */
  readonly details?: readonly string[]
}

export interface Conditions {
  readonly bad: readonly Condition[]
  readonly doubtful: readonly Condition[]
}

interface Source {
  readonly settings: Settings
  readonly report: InstallReport
  readonly findings: Findings
  readonly now: number
}

/** The most conditions of each colour; the command shows all. */
const SHOWN = 20
/** The most servers that are down to name. */
const NAMED = 10
const HOUR = 3_600_000
/** Milliseconds after which a process no longer counts as starting. */
const STARTED_AFTER = 60_000

export function conditionsOf({ settings, report, findings, now }: Source): Conditions {
  const away = awayDirectories(settings, report.processes, now)
  const failures = failuresOf(report, now)
  const ofTexts = (texts: readonly string[]): Condition[] => texts.map((text) => ({ text }))
  return {
    bad: [
      ...ofTexts(findings.bad),
      ...ofTexts(away.filter(({ isMissed }) => isMissed).map(({ text }) => text)),
      ...(failures?.isRecent ? [{ text: failures.text }] : []),
    ],
    doubtful: [
      ...ofTexts(away.filter(({ isMissed }) => !isMissed).map(({ text }) => text)),
      ...ofTexts(serversDown(report)),
      ...ofTexts(listsBehind(settings, report.processes, now)),
      ...failedReload(report, now),
      ...(failures && !failures.isRecent ? [{ text: failures.text }] : []),
      ...ofTexts(sharingTroubles(report)),
      ...ofTexts(findings.doubtful),
    ],
  }
}

interface Away {
  readonly text: string
  /** Whether recipients are deferred because of it. */
  readonly isMissed: boolean
}

function awayDirectories(
  settings: Settings,
  processes: readonly ProcessReport[],
  now: number,
): Away[] {
  const { directories, policies } = settings
  if (directories.all.length === 0) {
    const isOff = [...policies.values()].every(({ enabled }) => !enabled)
    if (isOff) return []
    return [{ text: 'No directory is configured: recipients cannot be looked up.', isMissed: true }]
  }
  const silent = processes.map((one) => silentDirectories(settings, one.directories, now))
  return directories.all.flatMap((directory): Away[] => {
    const { name } = directory
    const inProcesses = processes.flatMap((process, index) => {
      const report = reportOn(directory, process)
      const state = silent[index]?.get(name)
      const isAway = report && (allDown(report) || (state && hasNoServer(report, process, now)))
      return isAway ? [{ report, state }] : []
    })
    if (inProcesses.length === 0) return []
    const isMissed = inProcesses.some(({ state }) => state === 'missed')
    const where =
      inProcesses.length < processes.length
        ? ` by ${inProcesses.length} of ${processes.length} processes`
        : ''
    const which =
      directories.all.length > 1 ? `No server of directory ${name}` : 'No directory server'
    const who = directories.all.length > 1 ? ` ${domainsText(directories, name)}` : ''
    const hasList = inProcesses.every(({ report }) => hasUsableList(directory, report, now))
    const meanwhile = isMissed
      ? 'recipients that are not remembered get a 451, and senders try again.'
      : hasList
        ? 'its list in memory answers for it.'
        : 'another directory has the same domains.'
    return [{ text: `${which} can be asked${where}: ${meanwhile}${who}`, isMissed }]
  })
}

const reportOn = ({ name }: DirectorySettings, { directories }: ProcessReport) =>
  directories.find(({ directory }) => directory === name)

const allDown = ({ servers }: DirectoryReport) =>
  servers.length > 0 && servers.every(({ state }) => state === 'down')

/** DNS may name none, for example; shortly after the start, this is not known yet. */
const hasNoServer = ({ servers }: DirectoryReport, { startedAt }: ProcessReport, now: number) =>
  servers.length === 0 && now - startedAt > STARTED_AFTER

function serversDown({ processes }: InstallReport): string[] {
  const down = serversOf(processes).filter(({ state }) => state === 'down')
  const isOneOfSeveral = processes.some(({ directories }) => directories.length > 1)
  const named = down.slice(0, NAMED).map(({ directory, server, lastError }) => {
    const of = isOneOfSeveral ? ` of ${directory}` : ''
    return `Directory server ${server}${of} is down: ${lastError ?? 'no reason known'}`
  })
  const more = down.length - NAMED
  return more > 0 ? [...named, `${number(more)} more servers are down.`] : named
}

/** The lists in memory that their directory does not confirm, and why. */
function listsBehind(
  { directories }: Settings,
  processes: readonly ProcessReport[],
  now: number,
): string[] {
  return directories.all.flatMap((directory) => {
    const snapshots = processes.flatMap((one) => reportOn(directory, one)?.snapshot ?? [])
    const behind = snapshots.filter(({ isCurrent }) => !isCurrent)
    const { lastError, lastErrorAt = now } =
      behind.flatMap(({ sync }) => sync ?? []).find((sync) => sync.lastError !== undefined) ?? {}
    const which =
      directories.all.length > 1
        ? `The list of directory ${directory.name}`
        : 'The list of the directory'
    if (lastError !== undefined) {
      return [`${which} is not up to date, ${since(lastErrorAt, now)}: ${lastError}`]
    }
    const read = snapshots.map(({ asOf }) => asOf).filter((asOf) => asOf > 0)
    if (read.length === 0) return []
    const oldest = Math.min(...read)
    const { level, why } = judgedByAge(
      now - oldest,
      directory.snapshot,
      directory.gal.mode === 'received',
    )
    return level === 'ok' ? [] : [`${which}, as of ${dateTime(oldest)}${why}`]
  })
}

function failedReload({ processes }: InstallReport, now: number): Condition[] {
  const failed = processes.filter(({ reloadFailedAt }) => reloadFailedAt !== undefined)
  const [last] = failed.sort((a, b) => (b.reloadFailedAt ?? 0) - (a.reloadFailedAt ?? 0))
  if (!last) return []
  const ago = duration(now - (last.reloadFailedAt ?? now))
  return [
    {
      text: `The files in config/ were edited ${ago} ago and cannot be used. The settings of before stay in force.`,
      details: last.reloadProblems,
    },
  ]
}

function failuresOf(
  { counters, failedAt }: InstallReport,
  now: number,
): { readonly text: string; readonly isRecent: boolean } | undefined {
  const errors = total(counters, 'errors')
  if (errors === 0 || failedAt === undefined || now - failedAt > 24 * HOUR) return undefined
  return {
    text: `${counted(errors, 'failure')} of the plugin itself since the start, the last ${duration(now - failedAt)} ago: see "failed:" and "failure in" in the log.`,
    isRecent: now - failedAt <= HOUR,
  }
}

/** For the page; `All is well.` if there are none. */
export function conditionsPart({ bad, doubtful }: Conditions): Html {
  if (bad.length + doubtful.length === 0) return html`<p class="condition good">All is well.</p>`
  return html`${conditionList(bad, 'bad')}${conditionList(doubtful, 'doubtful')}`
}

function conditionList(conditions: readonly Condition[], kind: 'bad' | 'doubtful'): Html[] {
  const more = conditions.length - SHOWN
  return [
    ...conditions
      .slice(0, SHOWN)
      .map(
        ({ text, details = [] }) =>
          html`<div class="condition ${kind}">${visible(text)}${details.length > 0 && html`<ul>${details.map((one) => html`<li>${visible(one)}</li>`)}</ul>`}</div>`,
      ),
    ...(more > 0
      ? [
          html`<p class="condition ${kind}">${number(more)} more: <code>gal-relay check</code> has them all.</p>`,
        ]
      : []),
  ]
}

/** One line for each condition, for programs. */
export const conditionTexts = (conditions: readonly Condition[]) =>
  conditions.map(({ text, details = [] }) => [text, ...details].join('\n'))

// Start, end and reload: the state of the plugin in one process, what it logs at start, which process asks
// the directory, and the status page.

import { grammarOf } from '../advice/envelope'
import { exposedFiles } from '../advice/exposed-files'
import {
  openRelayBefore,
  otherAnswers,
  pluginOrder,
  proxiedTwice,
  rewritingBefore,
} from '../advice/plugin-order'
import { summary, warnings } from '../advice/startup'
import {
  masterProcess,
  onlyProcess as onlyThisProcess,
  type Processes,
  workerProcess,
} from '../control/processes'
import { type Control, FORGET, openControl, socketFile } from '../control/server'
import { loopStamp } from '../delivery/loops'
import { OutboundMail } from '../delivery/outbound'
import {
  countPasswordRefusal,
  DirectoryLists,
  type OpenedLists,
  type PasswordRefusal,
  sharePasswordRefusals,
} from '../gal/directories'
import { type Guarded, guard, onFailure, unattended } from '../guard'
import {
  checkHaraka,
  isFirst,
  isHooked,
  levelsOf,
  outboundOf,
  registerFirst,
  releaseOf,
} from '../haraka/internals'
import { log, logOf } from '../haraka/log'
import { Harvest, heldTogether, LIST, loadHarvest, RELEASE } from '../harvest/harvest'
import type { Hold } from '../harvest/holds'
import { missingHttpServer } from '../page/http-server'
import { PAGE_PATH, statusPage } from '../page/status-page'
import { Counts } from '../report/counts'
import { type ProcessReport, processReport } from '../report/install'
import { answerForWorkers, onlyProcess, type Reports, worker } from '../report/processes'
import { type Sample, samplesOfList, sum } from '../report/samples'
import type { IpAddress } from '../routing/networks'
import { recipientOf } from '../routing/recipient'
import { listedPlugins } from '../settings/accepting-plugins'
import { configDir, ownName, readIniFile } from '../settings/haraka-files'
import { type LoadedSettings, loadSettings, loadSettingsSteps, watchFiles } from '../settings/load'
import { ownHost } from '../settings/own-host'
import { trustedOwners } from '../settings/owners'
import { SettingsError } from '../settings/problem'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { inSlices, type Steps } from '../settings/steps'

/** The state of the plugin in one process. */
export interface State {
  settings: Settings
  /** The plugins that Haraka has loaded. */
  readonly plugins: readonly string[]
  /** Sentences about settings that have no effect. */
  ignored: readonly string[]
  /** The policies of local addresses that clients have connected to, under the settings in force. */
  policies: Map<string, LocalPolicy>
  readonly lists: DirectoryLists
  readonly outbound: OutboundMail
  /** A plugin before ours may replace recipients. */
  readonly rewritesRecipients: boolean
  /** The stamp in our Received lines. */
  readonly loopStamp: string
  readonly counts: Counts
  /** The levels of Haraka's log. */
  readonly logLevels: Haraka.LogLevels
  /** Counts of address lists that a reload has replaced. */
  retired: readonly Sample[]
  /** Counts reloads and the shutdown. A reload stops when a newer one has begun. */
  reloads: number
  /** When the current settings were read. */
  settingsSince: number
  reloadFailedAt: number | undefined
  /** Why, in sentences. */
  reloadProblems: readonly string[]
  readonly startedAt: number
  /** undefined until the process answers mail */
  reports: Reports | undefined
  /** Talks to the server's other processes and to the gal-relay command; undefined until the start. */
  processes: Processes | undefined
  control: Control | undefined
  harvest: Harvest | undefined
  readonly unwatch: () => void
  /** In a cluster the master, which answers no mail, logs the settings for all. */
  announces: boolean
  /** The workers answer mail, so they ask the directory. */
  answersMail: boolean
}

/** Computed once for each local address and port. */
export interface LocalPolicy {
  readonly policy: ListenerPolicy
  readonly address: IpAddress | undefined
}

export let state: State

/**
 * @throws {SettingsError} for an invalid configuration: Haraka's start fails with its text
 * @throws {UnsupportedHaraka} so too
 */
export function open(plugin: Haraka.Plugin): void {
  checkHaraka(plugin)
  const again: Guarded = guard('reload of the settings', () => reload(plugin, again))
  const plugins = listedPlugins(plugin.config)
  const loaded = loadSettings(plugin.config, again, plugins)
  const counts = new Counts(() => state.settings.http.enabled)
  loadHarvest(loaded.settings)
  onFailure((what, error) => {
    counts.failed()
    const shown = error instanceof Error ? error : new Error(String(error))
    log(plugin, 'error', plugin, `failure in ${what}:`, shown)
  })
  state = {
    ...loaded,
    plugins,
    policies: new Map(),
    lists: new DirectoryLists(loaded.settings.directories, (name) =>
      logOf(plugin, () => nameIn(name)),
    ),
    outbound: new OutboundMail(
      outboundOf(plugin),
      ownHost(plugin.config),
      logOf(plugin),
      (recipient) => state.lists.lookup(recipient),
    ),
    rewritesRecipients: rewritingBefore(plugin.config, plugin.name),
    loopStamp: loopStamp(),
    counts,
    logLevels: levelsOf(plugin),
    retired: [],
    reloads: 0,
    settingsSince: Date.now(),
    reloadFailedAt: undefined,
    reloadProblems: [],
    startedAt: Date.now(),
    reports: undefined,
    processes: undefined,
    control: undefined,
    harvest: undefined,
    unwatch: watchFiles(plugin.config, again),
    announces: false,
    answersMail: false,
  }
}

/** With several directories, each line says which one it is about. */
const nameIn = (directory: string) =>
  state.settings.directories.all.length > 1 ? `${directory}: ` : ''

/** Ends timers and connections, so that a graceful shutdown can finish. */
export function close(): void {
  const { unwatch, reports, lists, outbound, harvest, control } = state
  state.reloads++
  const end = () => lists.close()
  const endOutbound = () => outbound.close()
  const endHarvest = () => harvest?.close()
  unattended('end of the watch on files', unwatch, unwatch)
  unattended('end of reports', () => reports?.close())
  unattended('end of the address list', end, end)
  unattended('end of harvest defence', endHarvest, endHarvest)
  unattended('end of the socket for the gal-relay command', () => control?.close())
  unattended('end of the sockets to next hops', endOutbound, endOutbound)
}

/**
 * Reads the settings while mail is answered with the last good ones, which stay in force if the new ones are
 * invalid.
 */
async function reload(plugin: Haraka.Plugin, again: Guarded): Promise<void> {
  const number = ++state.reloads
  const isLatest = () => state.reloads === number
  try {
    const loading = loadSettingsSteps(plugin.config, again, state.plugins)
    const loaded = await inSlices(loading, isLatest)
    if (!loaded) return
    const opened = await inSlices(state.lists.opening(loaded.settings.directories), isLatest)
    if (!opened) return
    putInForce(plugin, loaded, opened)
    // These are in force, whatever happens to the next reload.
    await inSlices(state.lists.starting(), () => true)
  } catch (error) {
    state.reloadFailedAt = Date.now()
    state.reloadProblems = linesOf(error).slice(0, PROBLEMS_SHOWN).map(String)
    await inSlices(logReloadFailure(plugin, error), () => true)
  }
}

/** Shown on the status page; the log has all of them. */
const PROBLEMS_SHOWN = 20

function* logReloadFailure(plugin: Haraka.Plugin, error: unknown): Steps<void> {
  for (const line of linesOf(error)) {
    yield
    log(plugin, 'error', plugin, line)
  }
  log(plugin, 'error', plugin, 'the settings were not reloaded; the last good ones stay in force')
}

function putInForce(plugin: Haraka.Plugin, loaded: LoadedSettings, opened: OpenedLists): void {
  const former = state.lists.replace(opened)
  const counted = former.flatMap(samplesOfList).filter(({ value }) => value > 0)
  state.retired = sum([...state.retired, ...counted])
  const reload = { settingsSince: Date.now(), reloadFailedAt: undefined, reloadProblems: [] }
  Object.assign(state, loaded, { policies: new Map() }, reload)
  state.harvest?.apply(loaded.settings)
  log(plugin, 'notice', plugin, 'settings reloaded')
  if (state.announces) announce(plugin)
}

function announce(plugin: Haraka.Plugin): void {
  for (const line of summary(state.settings)) log(plugin, 'notice', plugin, line)
  for (const line of [...state.ignored, ...warnings(state.settings)])
    log(plugin, 'warn', plugin, line)
  try {
    announceOthers(plugin)
  } catch (error) {
    for (const line of linesOf(error)) log(plugin, 'error', plugin, line)
  }
}

/** @throws SettingsError when a file of another plugin cannot be read, which is not a reason to stop */
function announceOthers(plugin: Haraka.Plugin): void {
  const { config, name } = plugin
  const { settings } = state
  const others = [
    ...openRelayBefore(config, name, settings),
    ...pluginOrder(config, name, settings),
    ...proxiedTwice(config, settings),
    ...exposedFiles(config, settings),
  ]
  for (const line of others) log(plugin, 'warn', plugin, line)
  const missing = settings.http.enabled && missingHttpServer(readIniFile(config, 'http.ini'))
  if (missing) log(plugin, 'error', plugin, `no metrics and no status page: ${missing}`)
}

const linesOf = (error: unknown) => (error instanceof SettingsError ? error.lines : [error])

export function start(this: Haraka.Plugin, next: Haraka.Next, server: Haraka.Server): void {
  state.announces = server.cluster === undefined || server.cluster.isMaster
  state.answersMail = server.cluster === undefined || !server.cluster.isMaster
  if (isHooked(this, 'deny')) registerFirst(this, 'deny', 'keep_refusal')
  // Any plugin that runs before ours may replace a recipient.
  if (!isFirst(this, 'rcpt', 'check_recipient')) registerFirst(this, 'rcpt', 'begin_recipient')
  if (state.announces) announce(this)
  if (state.answersMail) state.lists.start()
  const role = !server.cluster ? 'only' : state.answersMail ? 'worker' : 'master'
  const processes = PROCESSES[role]()
  state.processes = processes
  if (role === 'only') state.reports = onlyProcess(reportOfThis)
  else if (role === 'worker') state.reports = worker(reportOfThis, processes)
  else answerForWorkers(processes)
  const tell = (refusal: PasswordRefusal) => processes.tellOthers(REFUSED, refusal)
  processes.handle(REFUSED, (refusal) => countPasswordRefusal(refusal as PasswordRefusal, tell))
  sharePasswordRefusals(tell)
  state.harvest = new Harvest(role, processes, ownName(this.config), logOf(this))
  state.harvest.apply(state.settings)
  startControl(this, role, processes)
  next()
}

/** Tells other processes that a directory has refused a password. */
const REFUSED = 'password refused'

/** Answers the gal-relay command, in all processes. */
function startControl(plugin: Haraka.Plugin, role: Role, processes: Processes): void {
  processes.handle(FORGET, (request) => {
    const { local, domain } = request as { readonly local: string; readonly domain: string }
    return state.lists.forget(recipientOf(local, domain))
  })
  if (role !== 'worker') {
    unattended('start of the socket for the gal-relay command', () => listen(plugin, processes))
  }
}

const PROCESSES = { only: onlyThisProcess, worker: workerProcess, master: masterProcess } as const
type Role = keyof typeof PROCESSES

/** Opens the socket for the gal-relay command. */
async function listen(plugin: Haraka.Plugin, processes: Processes): Promise<void> {
  const { config } = plugin
  const trusted = trustedOwners(config)
  const owner = trusted.users[0]
  const file = socketFile(configDir(config))
  const control = await openControl(file, trusted, owner, logOf(plugin))
  state.control = control
  control.handle(FORGET, ({ local, domain }) => processes.everywhere(FORGET, { local, domain }))
  control.handle(LIST, async () =>
    heldTogether((await processes.everywhere(LIST, undefined)) as Hold[][]),
  )
  control.handle(RELEASE, async ({ network }) => {
    const released = await processes.everywhere(RELEASE, network)
    return released.includes(true)
  })
}

// Runs before Haraka adds its own pages and its 404 handler.
export function serve_status(this: Haraka.Plugin, next: Haraka.Next, server: Haraka.Server): void {
  const { reports } = state
  if (reports && server.http?.app) {
    const page = statusPage({
      name: ownName(this.config),
      config: this.config,
      plugin: this.name,
      version: releaseOf(this),
      grammar: grammarOf(this.config),
      settings: () => state.settings,
      ignored: () => state.ignored,
      lists: () => state.lists,
      plugins: () => otherAnswers(this.config, this.name, state.settings),
      reports,
    })
    server.http.app.use(PAGE_PATH, page)
  }
  next()
}

function reportOfThis(): ProcessReport {
  const { counts, lists, retired, startedAt } = state
  const { settingsSince, reloadFailedAt, reloadProblems } = state
  return processReport(counts.report(), lists.report(), retired, {
    startedAt,
    settingsSince,
    reloadFailedAt,
    reloadProblems,
    harvest: state.harvest?.report(),
  })
}

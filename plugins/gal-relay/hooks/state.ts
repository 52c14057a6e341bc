// What the plugin holds in one process, from its start to its end, and the settings in force.

import { Traces } from '../delivery/loops'
import { OutboundMail } from '../delivery/outbound'
import { createAddressList, type GlobalAddressList } from '../gal/global-address-list'
import type { Log } from '../gal/log'
import { checkHaraka, type LogLines, loggable, logLines, outboundOf } from '../haraka/internals'
import { AnswerBatch } from '../report/answer-batch'
import { Counts } from '../report/counts'
import { openRelayBefore, pluginOrder, proxiedTwice } from '../report/plugin-order'
import type { Reports } from '../report/processes'
import { type Sample, samplesOfList, sum } from '../report/samples'
import { summary, warnings } from '../report/startup'
import { missingHttpServer } from '../report/status/http-server'
import { readIniFile } from '../settings/haraka-files'
import { type LoadedSettings, loadSettings, watchHostList } from '../settings/load'
import { ownHost } from '../settings/own-host'
import { SettingsError } from '../settings/problem'
import type { Settings } from '../settings/settings'

/** What the plugin holds in one process. */
export interface State {
  settings: Settings
  /** Sentences on what counts for nothing. */
  ignored: readonly string[]
  list: GlobalAddressList | undefined
  readonly outbound: OutboundMail
  readonly traces: Traces
  readonly logger: LogLines
  /** By a plugin such as syslog. */
  isLogTaken: boolean
  readonly counts: Counts
  /** Answers that are about to be counted and logged. */
  readonly told: AnswerBatch
  /** What address lists counted that a reload has replaced. */
  retired: readonly Sample[]
  reloadFailedAt: number | undefined
  readonly startedAt: number
  /** undefined until the process starts to answer mail */
  reports: Reports | undefined
  readonly unwatch: () => void
  /** In a cluster the master answers no mail: it speaks of the settings for all. */
  speaks: boolean
  /** The workers answer mail, so they ask the directory. */
  answers: boolean
}

export let state: State

/**
 * @param whenInForce called when settings are, now and after each reload
 * @throws {SettingsError} for an invalid configuration: Haraka's start fails with its text
 * @throws {UnsupportedHaraka} so too
 */
export function open(plugin: Haraka.Plugin, whenInForce: () => void): void {
  checkHaraka(plugin)
  const again = () => {
    if (reload(plugin, again)) whenInForce()
  }
  const loaded = loadSettings(plugin.config, again)
  const logger = logLines(plugin)
  const counts = new Counts(() => state.settings.http.enabled)
  state = {
    ...loaded,
    list: openList(plugin, loaded.settings),
    outbound: new OutboundMail(outboundOf(plugin), ownHost(plugin.config), logOf(plugin)),
    traces: new Traces(),
    logger,
    isLogTaken: true,
    counts,
    told: new AnswerBatch(counts, logger),
    retired: [],
    reloadFailedAt: undefined,
    startedAt: Date.now(),
    reports: undefined,
    unwatch: watchHostList(plugin.config, again),
    speaks: false,
    answers: false,
  }
  whenInForce()
}

/** Ends timers and connections, so that a process that is shut down gracefully can end. */
export function close(): void {
  state.unwatch()
  state.reports?.close()
  void state.list?.close()
  void state.outbound.close()
}

/** @returns whether there are other settings now */
function reload(plugin: Haraka.Plugin, again: () => void): boolean {
  let list: GlobalAddressList | undefined
  let loaded: LoadedSettings
  try {
    loaded = loadSettings(plugin.config, again)
    list = openList(plugin, loaded.settings)
  } catch (error) {
    for (const line of linesOf(plugin, error)) plugin.logerror(line)
    plugin.logerror('the settings were not reloaded; the last good ones stay in force')
    state.reloadFailedAt = Date.now()
    return false
  }
  const former = state.list
  if (former) state.retired = sum([...state.retired, ...samplesOfList(former.report())])
  Object.assign(state, loaded, { list, reloadFailedAt: undefined })
  if (state.answers) list?.start()
  void former?.close()
  plugin.lognotice('settings reloaded')
  if (state.speaks) announce(plugin)
  return true
}

function logOf(plugin: Haraka.Plugin): Log {
  return {
    debug: (text) => plugin.logdebug(text),
    info: (text) => plugin.loginfo(text),
    notice: (text) => plugin.lognotice(text),
    warn: (text) => plugin.logwarn(text),
    error: (text) => plugin.logerror(text),
  }
}

function openList(plugin: Haraka.Plugin, settings: Settings): GlobalAddressList | undefined {
  const { ldap } = settings
  return ldap && createAddressList({ ...settings, ldap }, logOf(plugin))
}

export function announce(plugin: Haraka.Plugin): void {
  for (const line of summary(state.settings)) plugin.lognotice(line)
  for (const line of [...state.ignored, ...warnings(state.settings)]) plugin.logwarn(line)
  try {
    announceOthers(plugin)
  } catch (error) {
    for (const line of linesOf(plugin, error)) plugin.logerror(line)
  }
}

/** @throws SettingsError when a file of another plugin cannot be read, which is no reason to end */
function announceOthers(plugin: Haraka.Plugin): void {
  const { config, name } = plugin
  const { settings } = state
  const others = [
    ...openRelayBefore(config, name, settings),
    ...pluginOrder(config, name, settings),
    ...proxiedTwice(config, settings),
  ]
  for (const line of others) plugin.logwarn(line)
  const missing = settings.http.enabled && missingHttpServer(readIniFile(config, 'http.ini'))
  if (missing) plugin.logerror(`no metrics and no status page: ${missing}`)
}

const linesOf = (plugin: Haraka.Plugin, error: unknown) =>
  error instanceof SettingsError ? error.message.split('\n') : [loggable(plugin, error)]

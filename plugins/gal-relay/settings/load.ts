// Loads the settings of an install, for the plugin and the gal-relay command alike. Haraka watches
// gal_relay.ini for us, as bytes: its ini reader prints what it cannot read, passwords included,
// and blocks mail while it splits a long file. We watch config/host_list ourselves, because
// rcpt_to.in_host_list has Haraka watch it too.
import { readdirSync, realpathSync, type Stats, unwatchFile, watchFile } from 'node:fs'
import path from 'node:path'
import { type Guarded, guard, later } from '../guard'
import { acceptingPlugins, listedPlugins } from './accepting-plugins'
import { configDir, readListSteps, readText } from './haraka-files'
import { inboundHosts } from './host-list'
import { type Ini, readIniSteps } from './ini'
import { ownHost } from './own-host'
import { trustedOwners } from './owners'
import type { Problem } from './problem'
import { redisOfHaraka } from './redis'
import { readSettingsSteps, type Settings } from './settings'
import { atOnce, type Steps } from './steps'

const INI = 'gal_relay.ini'

export interface LoadedSettings {
  readonly settings: Settings
  /** A sentence for each line of the other files that has no effect. */
  readonly ignored: readonly string[]
}

/**
 * @param onChange called whenever gal_relay.ini has changed
 * @param plugins those that Haraka has loaded; it reads config/plugins only when it starts
 * @throws SettingsError with every problem
 */
export function loadSettings(
  config: Haraka.Config,
  onChange?: Guarded,
  plugins = listedPlugins(config),
): LoadedSettings {
  return atOnce(loadSettingsSteps(config, onChange, plugins))
}

/** The same in short steps, however long the files are. */
export function* loadSettingsSteps(
  config: Haraka.Config,
  onChange: Guarded | undefined,
  plugins: readonly string[],
): Steps<LoadedSettings> {
  const ini = yield* iniSteps(config, onChange)
  const { domains, unusable } = yield* inboundHosts(yield* readListSteps(config, 'host_list'))
  const acceptedBy = acceptingPlugins(config, plugins)
  const own = ownHost(config)
  const settings = yield* readSettingsSteps(
    ini,
    domains,
    configDir(config),
    own,
    acceptedBy,
    trustedOwners(config),
    redisOfHaraka(config),
  )
  return {
    settings,
    ignored: [
      ...unusable.map(
        (line) => `config/host_list: '${line}' is not a domain name, so it is not inbound`,
      ),
      ...(yield* readListSteps(config, 'host_list_regex')).map(
        (line) =>
          `config/host_list_regex: '${line}' makes no domain inbound; list its domains in [routes]`,
      ),
    ],
  }
}

function* iniSteps(config: Haraka.Config, onChange?: Guarded): Steps<Ini> {
  // Read before Haraka's reader does: that prints why it cannot read a file and goes on without it.
  const own = readText(config, INI)
  const given = config.get(INI, 'binary', onChange)
  const isFile = !given || Buffer.isBuffer(given)
  const text = isFile ? own : given
  const read = yield* readIniSteps(`config/${INI}`, text ?? '')
  const missing = text === undefined ? [missingFile(configDir(config))] : []
  return { ...read, problems: [...missing, ...read.problems] }
}

/** Reads what {@link loadSettings} reads. @throws SettingsError if a file cannot be read */
export const loadIni = (config: Haraka.Config): Ini => atOnce(iniSteps(config))

/** Names that somebody may have given the file by mistake. */
const ALIKE = /^gal[-_. ]?relay\.(ini|conf|cfg|json|ya?ml)(\.\w+)?$/i

function missingFile(folder: string): Problem {
  const alike = readdirSync(folder).find((name) => ALIKE.test(name))
  const found = alike && `; config/${alike} is not read, probably meant: config/${INI}`
  return { file: `config/${INI}`, what: `there is no such file${found ?? ''}` }
}

/** @returns a sentence for each file beside gal_relay.ini that may have been meant as it */
export function misnamed(config: Haraka.Config): readonly string[] {
  return (
    readdirSync(configDir(config))
      // Copies are no mistake, and Haraka reads some of the others in its place.
      .filter((name) => ALIKE.test(name) && !/^gal_relay\.(ini|json|ya?ml)/.test(name))
      .map((name) => `config/${name} is not read, config/${INI} is: is that the file you edit?`)
  )
}

const LOOK_EVERY = 2000
// The file may still be being written.
const SETTLE_DELAY = 3000

/**
 * Calls `onChange` some seconds after config/host_list has changed, appeared or disappeared. If
 * gal_relay.ini is a link, watches that too: Kubernetes replaces a folder that the link leads through,
 * and Haraka does not notice.
 * @returns a function that ends the watch
 */
export function watchFiles(config: Haraka.Config, onChange: Guarded): () => void {
  const folder = configDir(config)
  const names = ['host_list', ...(isLinked(folder, INI) ? [INI] : [])]
  let rest: NodeJS.Timeout | undefined
  const compare = (now: Stats, before: Stats) => {
    if (now.mtimeMs === before.mtimeMs && now.ino === before.ino) return
    clearTimeout(rest)
    rest = later(SETTLE_DELAY, 'changed file of the settings', onChange, onChange).unref()
  }
  const look = guard('look at a file of the settings', compare)
  for (const name of names) {
    watchFile(path.join(folder, name), { persistent: false, interval: LOOK_EVERY }, look)
  }
  return () => {
    for (const name of names) unwatchFile(path.join(folder, name), look)
    clearTimeout(rest)
  }
}

function isLinked(folder: string, name: string): boolean {
  try {
    return realpathSync(path.join(folder, name)) !== path.join(realpathSync(folder), name)
  } catch {
    return false
  }
}

// The settings of an install. The plugin and the gal-relay command both read them here. Haraka watches
// gal_relay.ini for us, as bytes: its ini reader prints what it cannot read, passwords and all, and mail
// waits while it makes lines of a long file. config/host_list we watch ourselves, since
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
  /** A sentence for each line of other files that has no effect. */
  readonly ignored: readonly string[]
}

/**
 * @param onChange called whenever gal_relay.ini has changed
 * @param plugins those that Haraka has loaded, which reads config/plugins at its start only
 * @throws SettingsError with every problem
 */
export function loadSettings(
  config: Haraka.Config,
  onChange?: Guarded,
  plugins = listedPlugins(config),
): LoadedSettings {
  return atOnce(loadSettingsSteps(config, onChange, plugins))
}

/** The same in steps that are short, however long the files are. */
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
  // Before Haraka's reader, which prints why it cannot read a file, and goes on as if there were none.
  const own = readText(config, INI)
  const given = config.get(INI, 'binary', onChange)
  const isFile = !given || Buffer.isBuffer(given)
  const text = isFile ? own : given
  const read = yield* readIniSteps(`config/${INI}`, text ?? '')
  const missing = text === undefined ? [missingFile(configDir(config))] : []
  return { ...read, problems: [...missing, ...read.problems] }
}

/** What {@link loadSettings} reads. @throws SettingsError when there is a file that cannot be read */
export const loadIni = (config: Haraka.Config): Ini => atOnce(iniSteps(config))

/** Names that somebody may have given the file instead. */
const ALIKE = /^gal[-_. ]?relay\.(ini|conf|cfg|json|ya?ml)(\.\w+)?$/i

function missingFile(folder: string): Problem {
  const alike = readdirSync(folder).find((name) => ALIKE.test(name))
  const found = alike && `; config/${alike} is not read, probably meant: config/${INI}`
  return { file: `config/${INI}`, what: `there is no such file${found ?? ''}` }
}

/** @returns a sentence for each file beside gal_relay.ini that may be taken for it */
export function misnamed(config: Haraka.Config): readonly string[] {
  return (
    readdirSync(configDir(config))
      // Copies are no mistake, and Haraka takes some others in its place.
      .filter((name) => ALIKE.test(name) && !/^gal_relay\.(ini|json|ya?ml)/.test(name))
      .map((name) => `config/${name} is not read, config/${INI} is: is that the file you edit?`)
  )
}

const LOOK_EVERY = 2000
// Whoever writes it may not be done.
const SETTLE_DELAY = 3000

/**
 * Calls `onChange` some seconds after config/host_list has changed, come or gone; and after gal_relay.ini
 * has, where that is a link: Kubernetes puts another folder in the place of the one that it leads
 * through, which Haraka does not see.
 * @returns ends the watch
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

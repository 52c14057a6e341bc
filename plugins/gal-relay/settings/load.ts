// The settings of an install. The plugin and the gal-relay command both read them here. Haraka watches
// gal_relay.ini for us, as lines, since its ini reader prints what it cannot read, passwords and all.
// config/host_list we watch ourselves, since rcpt_to.in_host_list has Haraka watch it too.
import { unwatchFile, watchFile } from 'node:fs'
import path from 'node:path'
import { acceptingPlugins, listedPlugins } from './accepting-plugins'
import { configDir, readList, readText } from './haraka-files'
import { readIni } from './ini'
import { ownHost } from './own-host'
import { readSettings, type Settings, unusableHosts } from './settings'

const INI = 'gal_relay.ini'

export interface LoadedSettings {
  readonly settings: Settings
  /** A sentence for each line elsewhere that counts for nothing. */
  readonly ignored: readonly string[]
}

/**
 * @param onChange called whenever gal_relay.ini has changed
 * @param plugins those that Haraka has loaded, which reads config/plugins at its start only
 * @throws SettingsError with every problem
 */
export function loadSettings(
  config: Haraka.Config,
  onChange?: () => void,
  plugins = listedPlugins(config),
): LoadedSettings {
  const given = config.get(INI, 'data', onChange)
  const folder = configDir(config)
  const hostList = readList(config, 'host_list')
  const ini = readIni(`config/${INI}`, Array.isArray(given) ? (readText(config, INI) ?? '') : given)
  return {
    settings: readSettings(
      ini,
      hostList,
      folder,
      ownHost(config),
      acceptingPlugins(config, plugins),
    ),
    ignored: [
      ...unusableHosts(hostList).map(
        (line) => `config/host_list: '${line}' is not a domain name and is not inbound`,
      ),
      ...readList(config, 'host_list_regex').map(
        (line) =>
          `config/host_list_regex: '${line}' makes no domain inbound; write its domains into [routes]`,
      ),
    ],
  }
}

const LOOK_EVERY = 2000
// Whoever writes it may not be done.
const COME_TO_REST = 3000

/**
 * Calls `onChange` some seconds after config/host_list has changed, come or gone.
 * @returns ends the watch
 */
export function watchHostList(config: Haraka.Config, onChange: () => void): () => void {
  const file = path.join(configDir(config), 'host_list')
  let rest: NodeJS.Timeout | undefined
  const look = (now: { mtimeMs: number }, before: { mtimeMs: number }) => {
    if (now.mtimeMs === before.mtimeMs) return
    clearTimeout(rest)
    rest = setTimeout(onChange, COME_TO_REST).unref()
  }
  watchFile(file, { persistent: false, interval: LOOK_EVERY }, look)
  return () => {
    unwatchFile(file, look)
    clearTimeout(rest)
  }
}

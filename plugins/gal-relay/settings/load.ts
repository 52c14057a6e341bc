// The settings of an install, read through Haraka's own config reader: defaults of the package, the
// install's files over them. The plugin and the gal-relay command both read them here.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { readIni } from './ini'
import { readSettings, type Settings, unusableHosts } from './settings'

const INI = 'gal_relay.ini'

/**
 * @param onChange called whenever one of the files has changed
 * @returns the settings, and a sentence for each line elsewhere that counts for nothing
 * @throws SettingsError with every problem
 */
export function loadSettings(
  config: Haraka.Config,
  onChange?: () => void,
): { readonly settings: Settings; readonly ignored: readonly string[] } {
  const configDir = config.overrides_path ?? config.root_path
  const parsed = config.get(INI, onChange)
  const hostList = config.get('host_list', 'list', onChange)
  const ini = readIni(`config/${INI}`, parsed, readText(path.join(configDir, INI)))
  return {
    settings: readSettings(ini, hostList, configDir),
    ignored: unusableHosts(hostList).map(
      (line) => `config/host_list: '${line}' is not a domain name and is not inbound`,
    ),
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

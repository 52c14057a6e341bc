// Reads what an importer has written, for tests of importers.
import assert from 'node:assert/strict'
import type { Imported, Remark } from '../../plugins/gal-relay/import/ini'
import type { DirectorySettings } from '../../plugins/gal-relay/settings/directories'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import {
  type ListenerPolicy,
  readSettings,
  type Settings,
} from '../../plugins/gal-relay/settings/settings'

export const LEFT_OUT = ({ outcome }: Remark) => outcome === 'left out'

/** `[section] key = value` for each line that has an effect, in order. */
export function importedLines({ ini }: Pick<Imported, 'ini'>): string[] {
  let section = ''
  return ini.split('\n').flatMap((line) => {
    if (/^\[[a-z]+( \S+)?\]$/.test(line)) {
      section = line
      return []
    }
    return line === '' || line.startsWith(';') ? [] : [`${section} ${line}`]
  })
}

/**
 * Reads the ini with the reader of the settings, unchanged.
 * @returns the settings and those of the default directory
 * @throws SettingsError
 */
export function settingsOf({ ini }: Pick<Imported, 'ini'>): Settings & DirectorySettings {
  const settings = readSettings(readIni('config/gal_relay.ini', ini), [], '/')
  return { ...settings, ...(settings.directories.otherwise[0] as DirectorySettings) }
}

/** The same for a source without a directory: one is added. */
export function withDirectory({ ini }: Pick<Imported, 'ini'>): ListenerPolicy {
  assert.match(ini, /^;url\[\] = /m)
  const filled = ini.replace(/^;(url\[\]|base) = /gm, '$1 = ')
  const policy = settingsOf({ ini: filled }).policies.get('*:*')
  assert.ok(policy)
  return policy
}

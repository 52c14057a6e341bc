// Haraka's own configuration files, read with Haraka's grammar but not through its reader. That
// reader calls back only the last caller that asked for a file, so using it would take the reload
// callbacks away from Haraka and from the plugin that owns the file.
import { readFileSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import { parseIni } from 'haraka-config/lib/readers/ini'
import { type HarakaIni, linesOf, readableText } from './ini'
import { SettingsError } from './problem'
import { atOnce, type Steps } from './steps'

/** The install's config folder. */
export const configDir = (config: Haraka.Config): string =>
  config.overrides_path ?? config.root_path

/**
 * @returns `undefined` if there is no such file
 * @throws SettingsError if the file exists but cannot be read: what it says is unknown then, which is
 *   not the same as nothing
 */
export function readText(config: Haraka.Config, name: string): string | undefined {
  const file = path.join(configDir(config), name)
  try {
    // Reading a FIFO would block until something is written to it.
    if (!statSync(file).isFIFO()) return readFileSync(file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    const reason = code === 'EACCES' ? 'permission denied' : (code ?? message)
    throw new SettingsError([{ file: `config/${name}`, what: `it cannot be read: ${reason}` }])
  }
  throw new SettingsError([{ file: `config/${name}`, what: 'it is a named pipe, not a file' }])
}

/** The lines of `config/plugins`, `config/host_list` and the like, without comments and blank lines. */
export function readList(config: Haraka.Config, name: string): string[] {
  return atOnce(readListSteps(config, name))
}

/** The same, one line per step. */
export function* readListSteps(config: Haraka.Config, name: string): Steps<string[]> {
  const lines: string[] = []
  for (const raw of linesOf(readText(config, name) ?? '')) {
    yield
    const line = raw.trim()
    if (!/^([;#]|$)/.test(line)) lines.push(line)
  }
  return lines
}

/** @param booleans keys that are booleans; the sign is the default, as in `-main.postel` */
export function readIniFile(
  config: Haraka.Config,
  name: string,
  booleans: readonly string[] = [],
): HarakaIni {
  return parseIni(name, { booleans }, readableText(readText(config, name) ?? ''))
}

/** Haraka's outbound queue: the folder that `config/queue_dir` names, or the one beside `config/`. */
export function queueFolder(config: Haraka.Config): string {
  const [folder = 'queue'] = readList(config, 'queue_dir')
  return path.resolve(configDir(config), '..', folder)
}

/** The name in `config/me`, or the machine's name. */
export function ownName(config: Haraka.Config): string {
  return readList(config, 'me')[0] ?? hostname()
}

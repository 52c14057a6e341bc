// The Haraka install that the command works on: its folder, and its settings as its server reads them.
import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { DirectoryLists } from '../gal/directories'
import { createListForNow } from '../gal/snapshot/list-as-read'
import type { Log } from '../log'
import { loadSettings } from '../settings/load'
import type { Settings } from '../settings/settings'
import { statsOf } from '../trusted-file'

/** The folder of this package, relative to dist/plugins/gal-relay/cli. */
const PACKAGE = path.resolve(__dirname, '..', '..', '..', '..')

/** The plugin's name in Haraka. */
export const PLUGIN = 'gal-relay'

/** The command cannot do what it was asked; the message says why. The exit code is 2. */
export class CannotRun extends Error {}

export interface Install {
  /** The folder above config/. */
  readonly root: string
  /** Like the plugin's `this.config` in the server. */
  readonly config: Haraka.Config
}

export interface Configured extends Install {
  readonly settings: Settings
}

/**
 * @param folder the install's root or its config/; by default `$HARAKA`, otherwise the current folder
 * @throws CannotRun if there is no install
 */
export async function openInstall(folder: string | undefined): Promise<Install> {
  const start = path.resolve(folder ?? process.env.HARAKA ?? '.')
  const root = isFolder(path.join(start, 'config'))
    ? start
    : path.basename(start) === 'config' && isFolder(start) && path.dirname(start)
  if (!root) {
    throw new CannotRun(
      `${start} is not a Haraka install: it has no config folder. Name the install with --config DIR`,
    )
  }
  // haraka-config reads this only once, when it is loaded.
  process.env.HARAKA = root
  const { default: harakaConfig } = await import('haraka-config')
  // The watcher would keep the command running, and print when a command writes there.
  harakaConfig.stop_watching?.('smtp.ini')
  return { root, config: harakaConfig.module_config(PACKAGE, root) }
}

/** @throws CannotRun, SettingsError */
export async function openConfigured(folder: string | undefined): Promise<Configured> {
  const install = await openInstall(folder)
  return { ...install, settings: loadSettings(install.config).settings }
}

/** Opens the lists as the server uses them, with empty caches. The caller must close them. */
export function openLists({ directories }: Settings): DirectoryLists {
  return new DirectoryLists(directories, () => SILENT, createListForNow)
}

const nothing = () => {}
/** The answer itself says what happens inside. */
export const SILENT: Log = {
  debug: nothing,
  info: nothing,
  notice: nothing,
  warn: nothing,
  error: nothing,
}

/** Haraka's programs in the PATH: if Haraka is installed globally, it loads packages from there. */
export function harakaPrograms(): readonly string[] {
  return (process.env.PATH ?? '')
    .split(path.delimiter)
    .map((folder) => path.join(folder, 'haraka'))
    .filter((file) => existsSync(file))
    .map((file) => realpathSync(file))
}

/** Whether the error says that there is no such file. */
export const isMissing = (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'

const isFolder = (name: string): boolean => statsOf(name)?.isDirectory() ?? false

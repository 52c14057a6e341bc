// What can be wrong with an install, as far as its settings and files tell. No other host is asked,
// so a server can check too. gal-relay check starts with these findings; the status page shows all
// of them.
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Finding } from '../gal/directory/finding'
import { parseIp } from '../routing/networks'
import { decidesRelaying } from '../settings/enforcement'
import { configDir } from '../settings/haraka-files'
import { misnamed } from '../settings/load'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { exposedFiles } from './exposed-files'
import { notListed, openRelayBefore, pluginOrder, proxiedTwice } from './plugin-order'
import { doubts, openRelay, summary } from './startup'
import { unreachable } from './unreachable'
import { unreadable } from './unreadable'
import { whoMayRelay } from './who-may-relay'

const problem = (text: string): Finding => ({ level: 'problem', text })
const warning = (text: string): Finding => ({ level: 'warning', text })

/** @param ignored sentences about lines that have no effect */
export function settingsFindings(settings: Settings, ignored: readonly string[]): Finding[] {
  return [
    ...summary(settings).map((text): Finding => ({ level: 'ok', text })),
    ...openListeners(settings).map(({ text }) => problem(text)),
    ...[...ignored, ...doubts(settings), ...unreachable(settings)].map(warning),
  ]
}

export interface OpenListener {
  readonly text: string
  /** Whether the rules already decide there; if not, it will be open once they do. */
  readonly isOpenNow: boolean
}

/** The listeners on which the internet may relay. */
export const openListeners = ({ policies }: Settings): readonly OpenListener[] =>
  [...policies.values()].flatMap((policy) =>
    openTexts(policy).map((text) => ({ text, isOpenNow: decidesRelaying(policy) })),
  )

function openTexts(policy: ListenerPolicy): readonly string[] {
  const open = policy.enabled ? openRelay(policy) : []
  if (open.length > 0) return open
  const { name } = policy
  const address = name.slice(0, name.lastIndexOf(':'))
  return whoMayRelay(policy, parseIp(address)).internet
    ? [`listener ${name}: the internet may relay; gal-relay who-may-relay has the details`]
    : []
}

/** Findings about the files in config/ and those that they name. */
export function fileFindings(config: Haraka.Config, settings: Settings): Finding[] {
  return [
    ...misnamed(config),
    ...unreadable(config, settings),
    ...exposedFiles(config, settings),
  ].map(warning)
}

/**
 * Findings about the plugin's place in config/plugins.
 * @param name the name of this plugin
 * @param settings `undefined` if they cannot be used
 */
export function pluginFindings(
  config: Haraka.Config,
  name: string,
  settings?: Settings,
): Finding[] {
  const isPublisher = settings?.directories.all.some(({ snapshot }) => snapshot.key_file !== '')
  if (isPublisher && !existsSync(path.join(configDir(config), 'plugins'))) {
    const text = 'there is no such file: no Haraka runs here, and gal-relay publish needs none'
    return [{ level: 'note', text }]
  }
  const unlisted = notListed(config, name)
  if (unlisted.length > 0) return unlisted.map(problem)
  const findings = [
    ...openRelayBefore(config, name, settings).map(problem),
    ...pluginOrder(config, name, settings).map(warning),
    ...(settings ? proxiedTwice(config, settings) : []).map(warning),
  ]
  return findings.length > 0 ? findings : [{ level: 'ok', text: 'no other plugin answers first' }]
}

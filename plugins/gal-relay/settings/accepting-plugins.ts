// Which other plugins answer 250 to recipients. Without one, Haraka answers 550 to every recipient
// that this plugin does not accept.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { configDir, readIniFile, readList } from './haraka-files'
import { SettingsError } from './problem'

/** @returns what the plugin accepts as it is configured; `undefined` if it accepts nothing */
type Accepts = (config: Haraka.Config) => string | undefined

const always =
  (what: string): Accepts =>
  () =>
    what

/**
 * The plugins that answer 250 to recipients, both Haraka 3.3.4's own and published ones. Other plugins
 * hook RCPT only to refuse, to count or to observe.
 */
export const ACCEPTING: Readonly<Record<string, Accepts>> = {
  'rcpt_to.in_host_list': always('every recipient at a domain of config/host_list'),
  'recipient-routes': always('the recipients and domains of its routes'),
  'qmail-deliverable': always('recipients'),
  'rcpt-ldap': always('recipients'),
  'rcpt-postgresql': always('recipients'),
  ldap: (config) =>
    readIniFile(config, 'ldap.ini').rcpt_to
      ? 'the recipients that it finds ([rcpt_to] in config/ldap.ini)'
      : undefined,
  dovecot: always('recipients'),
  wildduck: always('recipients'),
  relay: (config) => {
    const { all, dest_domains } = relaySettings(config)
    return !all && dest_domains
      ? 'the domains of config/relay_dest_domains.ini (dest_domains = true in config/relay.ini)'
      : undefined
  },
  access: (config) => {
    const { check, rcpt } = readIniFile(config, 'access.ini', ['+check.rcpt', '-rcpt.accept'])
    return check?.rcpt && rcpt?.accept
      ? 'the recipients of its whitelists (accept = true in config/access.ini)'
      : undefined
  },
  'queue/smtp_forward': (config) => {
    const { main } = readIniFile(config, 'smtp_forward.ini', ['-main.check_recipient'])
    return main?.check_recipient
      ? 'recipients at the domains of its sections (check_recipient = true in config/smtp_forward.ini)'
      : undefined
  },
}

export function relaySettings(config: Haraka.Config): Readonly<Record<string, unknown>> {
  return readIniFile(config, 'relay.ini', ['-relay.all', '-relay.dest_domains']).relay ?? {}
}

/** They accept some extra recipients, but not those of the install. */
const ONLY_SOME = new Set(['relay', 'access'])

/** Plugins that hook RCPT but accept no recipient. */
const NOT_ACCEPTING = new Set([
  ...['aliases', 'delay_deny', 'dns-list', 'gal-relay', 'greylist', 'karma', 'known-senders'],
  ...['limit', 'process_title', 'queue/smtp_proxy', 'record_envelope_addresses', 'tarpit', 'watch'],
])

/** Old names, and the plugins that Haraka loads for them. */
const NOW_CALLED: Readonly<Record<string, string>> = {
  relay_all: 'relay',
  relay_acl: 'relay',
  relay_force_routing: 'relay',
  'rcpt_to.access': 'access',
  'rcpt_to.blocklist': 'access',
  'rcpt_to.ldap': 'rcpt-ldap',
  'rcpt_to.qmail_deliverable': 'qmail-deliverable',
}

/** The plugins in config/plugins, in order and under the names that Haraka loads them by. */
export function listedPlugins(config: Haraka.Config): readonly string[] {
  return readList(config, 'plugins')
    .map((line) => line.replace(/^haraka-plugin-/, ''))
    .map((line) => NOW_CALLED[line] ?? line)
}

/**
 * @param plugins as returned by {@link listedPlugins}
 * @returns the plugins that accept recipients of this install
 */
export function acceptingPlugins(
  config: Haraka.Config,
  plugins: readonly string[],
): readonly string[] {
  return plugins.filter((plugin) => {
    if (ONLY_SOME.has(plugin) || NOT_ACCEPTING.has(plugin)) return false
    const accepts = ACCEPTING[plugin]
    if (!accepts) return mayAccept(sourceOf(config, plugin))
    try {
      return accepts(config) !== undefined
    } catch (error) {
      // The settings cannot be read, so the plugin may accept recipients.
      if (error instanceof SettingsError) return true
      throw error
    }
  })
}

// An unknown plugin accepts a recipient by calling next(OK) in a rcpt hook.
function mayAccept(source: string): boolean {
  const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
  if (!/\bhook_rcpt\b|['"`]rcpt['"`]/.test(code)) return false
  const plain = code.replace(/'[^'\n]*'|"[^"\n]*"|`[^`]*`/g, "''")
  return /\bOK\b|\bconstants\.ok\b/.test(plain)
}

/** @returns '' if the install has no such file. Haraka's own plugins are known by name. */
function sourceOf(config: Haraka.Config, plugin: string): string {
  const root = path.resolve(configDir(config), '..')
  const own = path.join(root, 'plugins', plugin)
  const { resolve } = createRequire(path.join(root, 'package.json'))
  for (const find of [
    () => `${own}.js`,
    () => path.join(own, 'index.js'),
    () => resolve(`haraka-plugin-${plugin}`),
    () => resolve(plugin),
  ]) {
    try {
      return readFileSync(find(), 'utf8')
    } catch {
      // Try the next place.
    }
  }
  return ''
}

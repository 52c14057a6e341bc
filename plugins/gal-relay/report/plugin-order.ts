// What other plugins in config/plugins do to this one by their place: whoever accepts a recipient
// first ends the rcpt hook, so that a plugin behind it is not asked about that recipient. And one that
// takes more than its part of the mail wherever it stands.
import { readIniFile, readList } from '../settings/haraka-files'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { domainsByPath, type KnownPaths } from './startup'

/** @returns what the plugin accepts by itself, as it is configured; undefined: nothing */
type Accepts = (config: Haraka.Config) => string | undefined

const always =
  (what: string): Accepts =>
  () =>
    what

/**
 * Plugins that answer 250 to recipients: those that Haraka 3.3.4 comes with, and published ones. Others
 * hook RCPT too, but only to refuse, to count or to look on.
 */
const ACCEPTING: Readonly<Record<string, Accepts>> = {
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

function relaySettings(config: Haraka.Config): Readonly<Record<string, unknown>> {
  return readIniFile(config, 'relay.ini', ['-relay.all', '-relay.dest_domains']).relay ?? {}
}

/** Names under which Haraka loads another plugin. */
const NOW_CALLED: Readonly<Record<string, string>> = {
  relay_all: 'relay',
  relay_acl: 'relay',
  relay_force_routing: 'relay',
  'rcpt_to.access': 'access',
  'rcpt_to.blocklist': 'access',
  'rcpt_to.ldap': 'rcpt-ldap',
  'rcpt_to.qmail_deliverable': 'qmail-deliverable',
}

/** Whether a plugin puts other recipients in the place of those it is given. */
function rewrites(config: Haraka.Config, plugin: string): boolean {
  return (
    plugin === 'aliases' ||
    (plugin === 'ldap' && readIniFile(config, 'ldap.ini').aliases !== undefined)
  )
}

interface Place {
  readonly isListed: boolean
  /** In order, by the names that Haraka loads them under. */
  readonly before: readonly string[]
  readonly after: readonly string[]
}

/** @param name of this plugin */
function placeOf(config: Haraka.Config, name: string): Place {
  const names = readList(config, 'plugins')
    .map((line) => line.replace(/^haraka-plugin-/, ''))
    .map((line) => NOW_CALLED[line] ?? line)
  const own = names.indexOf(name)
  return {
    isListed: own >= 0,
    before: names.slice(0, Math.max(own, 0)),
    after: names.slice(own + 1),
  }
}

/** @returns a sentence if Haraka does not load this plugin */
export function notListed(config: Haraka.Config, name: string): readonly string[] {
  return placeOf(config, name).isListed
    ? []
    : [`${name} is not listed in config/plugins: Haraka does not load it`]
}

/** @returns whether a plugin may put another recipient in the place of one before this is asked */
export function rewritingBefore(config: Haraka.Config, name: string): boolean {
  return placeOf(config, name).before.some((plugin) => rewrites(config, plugin))
}

/**
 * Whether it is all the same so far who answers first: what others accept is observed before them.
 *
 * @param settings undefined when they cannot be used
 */
function onlyObserves(config: Haraka.Config, name: string, settings: Settings | undefined) {
  const enabled = [...(settings?.policies.values() ?? [])].filter((policy) => policy.enabled)
  return (
    enabled.length > 0 && enabled.every(({ enforce }) => !enforce) && !rewritingBefore(config, name)
  )
}

/** @returns a sentence if a plugin before this one lets everybody relay */
export function openRelayBefore(
  config: Haraka.Config,
  name: string,
  settings?: Settings,
): readonly string[] {
  if (!placeOf(config, name).before.includes('relay') || !relaySettings(config).all) return []
  const once = onlyObserves(config, name, settings) ? 'once enforced, ' : ''
  return [
    `OPEN RELAY: plugin relay stands before ${name} in config/plugins and accepts every recipient ` +
      `from everybody (all = true in config/relay.ini); ${once}${name} is not asked. Put it behind ${name}`,
  ]
}

/**
 * queue/smtp_proxy passes each accepted recipient on to its server at once, and gives it the message
 * for all of them.
 * @returns a sentence if some of them leave by the outbound queue as well, or instead
 */
export function proxiedTwice(config: Haraka.Config, settings: Settings): readonly string[] {
  if (!readList(config, 'plugins').includes('queue/smtp_proxy')) return []
  const { main } = readIniFile(config, 'smtp_proxy.ini', ['+main.enable_outbound'])
  const known: KnownPaths = new Map()
  const sendsOut = (policy: ListenerPolicy) =>
    policy.enabled && domainsByPath(policy, known).outbound.length > 0
  const policies = [...settings.policies.values()].filter(sendsOut)
  const missing = [
    ...(policies.some(({ mixed }) => mixed === 'split') ? ['[routing] mixed = defer'] : []),
    ...(policies.length > 0 && main?.enable_outbound
      ? ['enable_outbound = false in config/smtp_proxy.ini']
      : []),
  ]
  if (missing.length === 0) return []
  return [
    `plugin queue/smtp_proxy also delivers to recipients that leave by the outbound queue: set ${missing.join(' and ')}`,
  ]
}

function acceptingBefore(
  config: Haraka.Config,
  name: string,
  settings: Settings | undefined,
): readonly string[] {
  const unheard = onlyObserves(config, name, settings)
    ? `once enforced, ${name} is not asked about those`
    : `for those, ${name} is not asked`
  return placeOf(config, name).before.flatMap((earlier) => {
    const what = ACCEPTING[earlier]?.(config)
    if (!what) return []
    return [
      `plugin ${earlier} stands before ${name} in config/plugins and accepts ${what}: ${unheard}. ` +
        `Put it behind ${name}`,
    ]
  })
}

/** @returns a sentence for each reason why Haraka may answer otherwise than this plugin would */
export function otherAnswers(
  config: Haraka.Config,
  name: string,
  settings: Settings,
): readonly string[] {
  const rewriting = placeOf(config, name).before.filter((plugin) => rewrites(config, plugin))
  return [
    ...notListed(config, name),
    ...openRelayBefore(config, name, settings),
    ...acceptingBefore(config, name, settings),
    ...rewriting.map(
      (earlier) =>
        `plugin ${earlier} stands before ${name} in config/plugins and may put other recipients in ` +
        'the place of this one: then those are decided',
    ),
  ]
}

/** @returns a sentence for each other plugin whose place in config/plugins is probably not meant */
export function pluginOrder(
  config: Haraka.Config,
  name: string,
  settings?: Settings,
): readonly string[] {
  const once = onlyObserves(config, name, settings) ? ', once enforced,' : ''
  const unasked = placeOf(config, name).after.filter((plugin) => rewrites(config, plugin))
  return [
    ...acceptingBefore(config, name, settings),
    ...unasked.map(
      (later) =>
        `plugin ${later} stands behind ${name} in config/plugins and${once} is never asked: put it before`,
    ),
  ]
}

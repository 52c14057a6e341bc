// What other plugins in config/plugins do to this one by their place. The first plugin to accept a
// recipient ends the rcpt hook, so later plugins are not asked about that recipient. Also finds a
// plugin that takes more than its share of the mail wherever it is listed.
import { ACCEPTING, listedPlugins, relaySettings } from '../settings/accepting-plugins'
import { decidesRecipients, decidesRelaying } from '../settings/enforcement'
import { readIniFile, readList } from '../settings/haraka-files'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { domainsByPath, type KnownPaths } from './startup'

/** Whether a plugin replaces recipients with others. */
function rewrites(config: Haraka.Config, plugin: string): boolean {
  return (
    plugin === 'aliases' ||
    (plugin === 'ldap' && readIniFile(config, 'ldap.ini').aliases !== undefined)
  )
}

interface Place {
  readonly isListed: boolean
  /** In order, under the names that Haraka loads them by. */
  readonly before: readonly string[]
  readonly after: readonly string[]
}

/** @param name the name of this plugin */
function placeOf(config: Haraka.Config, name: string): Place {
  const names = listedPlugins(config)
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

/** @returns whether a plugin may replace a recipient before this one is asked */
export function rewritingBefore(config: Haraka.Config, name: string): boolean {
  return placeOf(config, name).before.some((plugin) => rewrites(config, plugin))
}

/**
 * Whether it does not matter yet which plugin answers first: if this one only observes, it sees
 * recipients before the others accept them.
 *
 * @param settings `undefined` if they cannot be used
 * @param decides whether it does matter on a listener
 */
function onlyObserves(
  config: Haraka.Config,
  name: string,
  settings: Settings | undefined,
  decides: (policy: ListenerPolicy) => boolean,
) {
  const enabled = [...(settings?.policies.values() ?? [])].filter((policy) => policy.enabled)
  return enabled.length > 0 && !enabled.some(decides) && !rewritingBefore(config, name)
}

/** @returns a sentence if a plugin before this one lets everybody relay */
export function openRelayBefore(
  config: Haraka.Config,
  name: string,
  settings?: Settings,
): readonly string[] {
  if (!placeOf(config, name).before.includes('relay') || !relaySettings(config).all) return []
  const once = onlyObserves(config, name, settings, decidesRelaying) ? 'once enforced, ' : ''
  return [
    `OPEN RELAY: plugin relay comes before ${name} in config/plugins and accepts every recipient ` +
      `from everybody (all = true in config/relay.ini); ${once}${name} is not asked. Put it behind ${name}`,
  ]
}

/**
 * queue/smtp_proxy passes each accepted recipient on to its server at once, and later sends that server
 * the message for all of them.
 * @returns a sentence if some of them also leave through the outbound queue, or only through it
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
  return placeOf(config, name).before.flatMap((earlier) => {
    const what = ACCEPTING[earlier]?.(config)
    if (!what) return []
    const decides = earlier === 'relay' ? decidesRelaying : decidesRecipients
    const unheard = onlyObserves(config, name, settings, decides)
      ? `once enforced, ${name} is not asked about those`
      : `for those, ${name} is not asked`
    return [
      `plugin ${earlier} comes before ${name} in config/plugins and accepts ${what}: ${unheard}. ` +
        `Put it behind ${name}`,
    ]
  })
}

/** @returns a sentence for each reason why Haraka may answer differently from this plugin */
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
        `plugin ${earlier} comes before ${name} in config/plugins and may replace this recipient ` +
        'with others: the answer then depends on those',
    ),
  ]
}

/** @returns a sentence for each other plugin whose place in config/plugins is probably a mistake */
export function pluginOrder(
  config: Haraka.Config,
  name: string,
  settings?: Settings,
): readonly string[] {
  const once = onlyObserves(config, name, settings, decidesRecipients) ? ', once enforced,' : ''
  const unasked = placeOf(config, name).after.filter((plugin) => rewrites(config, plugin))
  return [
    ...acceptingBefore(config, name, settings),
    ...unasked.map(
      (later) =>
        `plugin ${later} comes after ${name} in config/plugins and${once} is never asked: move it before`,
    ),
  ]
}

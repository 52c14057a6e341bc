// What the log says once at start and again after a reload: who may relay where, and which settings
// will probably surprise their author. For other plugins, see plugin-order.ts.
import { counts, KINDS, type Path, pathsOf } from '../routing/kinds'
import type { NetworkList } from '../routing/networks'
import { findRow } from '../routing/routes'
import type { DirectorySettings } from '../settings/directories'
import {
  acceptsUnasked,
  decidesRelaying,
  enforcementText,
  observesRecipients,
} from '../settings/enforcement'
import { carrierText } from '../settings/list-channel'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { firstOf, lookedUpWhere, ofEach } from './directories'
import { inboundDomains } from './inbound-domains'
import { unusedDomains } from './unused-domains'

/** One line for each listener that differs and one for the domains; more with several directories. */
export function summary(settings: Settings): readonly string[] {
  const general = settings.policies.get('*:*')
  const lines = [...settings.policies.values()].map(
    (policy) => `${listenerText(policy)}: ${decidesText(policy)}`,
  )
  const inbound =
    general && abbreviated(inboundDomains(general.routing.routes, general.routing.hostList))
  lines.push(`inbound domains: ${inbound || 'none'}`, ...lookedUpWhere(settings.directories))
  lines.push(...firstOf(settings.directories.all.flatMap(channelText)))
  const acceptedBy = [...settings.policies.values()].find(observesRecipients)?.acceptedBy ?? []
  if (acceptedBy.length > 0) {
    lines.push(`recipients that are only observed: ${abbreviated(acceptedBy)} may accept them`)
  }
  return lines
}

function channelText({ snapshot: { channel } }: DirectorySettings): readonly string[] {
  if (!channel) return []
  const where = carrierText(channel)
  return channel.role === 'receive'
    ? [`the list ${channel.list} is received from ${where}; no directory is asked`]
    : [`the list ${channel.list} is read by one of the servers that share it by ${where}`]
}

export const listenerText = ({ name }: ListenerPolicy) =>
  name === '*:*' ? 'listeners without a section of their own' : `listener ${name}`

/** Whether the plugin decides there, and who may relay. */
function decidesText(policy: ListenerPolicy): string {
  if (!policy.enabled) return 'takes no part'
  if (!observesRecipients(policy)) return whoMayRelayText(policy)
  const { enforce } = policy
  const accepted = acceptsUnasked(policy)
    ? ', and accepts recipients at our domains without a look-up'
    : ''
  if (enforce === 'relaying') {
    return `${whoMayRelayText(policy)}; only observes recipients (enforce = relaying)${accepted}`
  }
  return `only observes (enforce = false)${accepted}; if enforced: ${whoMayRelayText(policy)}`
}

function whoMayRelayText({ restrictions }: ListenerPolicy): string {
  if (!restrictions.reroute) return 'nobody may relay (reroute = false)'
  const { hosts, localAddresses, authenticated, never, open } = restrictions
  const count = hosts.entries.length + localAddresses.entries.length + (authenticated ? 1 : 0)
  // Only the first ones, because many listeners may share long lists.
  const who = [
    ...firstEntries(hosts),
    ...firstEntries(localAddresses).map((text) => `clients connecting to ${text}`),
    ...(authenticated ? ['authenticated clients'] : []),
  ]
  const nobody = abbreviatedOf(firstEntries(never), never.entries.length)
  const but = nobody && `, never ${nobody}`
  if (open) return `EVERYBODY may relay (open = true)${but}`
  return `${count > 0 ? `${abbreviatedOf(who, count)} may relay` : 'nobody may relay'}${but}`
}

const SHOWN = 10

const firstEntries = ({ entries }: NetworkList) => entries.slice(0, SHOWN).map(({ text }) => text)

/** @param items the first items of the list */
const abbreviatedOf = (items: readonly string[], count: number) =>
  count > SHOWN ? `${items.slice(0, SHOWN).join(', ')} and ${count - SHOWN} more` : items.join(', ')

function abbreviated(items: Iterable<string>): string {
  const first: string[] = []
  let count = 0
  for (const item of items) if (count++ < SHOWN) first.push(item)
  return abbreviatedOf(first, count)
}

/** Settings that are valid but probably not meant. */
export function warnings(settings: Settings): readonly string[] {
  return [...enabledPolicies(settings).flatMap(openRelay), ...doubts(settings)]
}

/** Settings that are probably not meant but harm nobody else. */
export function doubts(settings: Settings): readonly string[] {
  return [
    ...enabledPolicies(settings).filter(acceptsUnasked).map(acceptedUnasked),
    ...enabledPolicies(settings).filter(observesRecipients).flatMap(acceptedByNobody),
    ...leftOverRestrictions(enabledPolicies(settings)),
    ...deferredKinds(enabledPolicies(settings)),
    ...ofEach(settings.directories, clearTextPassword),
    ...ofEach(settings.directories, uncheckedServer),
    ...withoutDefault(settings),
    ...unusedDomains(settings),
    ...unusedHosts(settings),
  ]
}

const enabledPolicies = ({ policies }: Settings) =>
  [...policies.values()].filter(({ enabled }) => enabled)

/** @returns a sentence if anybody may relay on the listener */
export function openRelay(policy: ListenerPolicy): readonly string[] {
  const { restrictions } = policy
  if (!restrictions.reroute) return []
  const { everything } = restrictions.hosts
  const why = restrictions.open
    ? 'open = true'
    : everything && `hosts[] = ${everything.text} matches every address`
  if (!why) return []
  const open = decidesRelaying(policy) ? 'OPEN RELAY on' : 'OPEN RELAY, once enforced, on'
  return [`${open} ${listenerText(policy)}: anybody may send mail anywhere through it (${why})`]
}

// Otherwise Haraka would answer 550 to every recipient while all seemed well.
function acceptedUnasked(policy: ListenerPolicy): string {
  const nobody = policy.enforce === 'relaying' ? '' : ', and the rules let nobody relay'
  return (
    `${listenerText(policy)}: recipients are only observed (${enforcementText(policy)}), and no other ` +
    'plugin accepts them: those at inbound, shared and always-relay domains are accepted without a ' +
    `look-up, even unknown ones${nobody}`
  )
}

// Haraka answers the same without the plugin, but going back to that would mean refusing mail.
function acceptedByNobody(policy: ListenerPolicy): readonly string[] {
  const { acceptedBy, routing } = policy
  if (acceptedBy.join() !== 'rcpt_to.in_host_list' || routing.hostList.size === 0) return []
  const missing = routing.routes.rows
    .filter(
      ({ routeTo, sentTo }) =>
        'hops' in routeTo &&
        KINDS[routeTo.kind].path === 'queue' &&
        !routing.hostList.has(sentTo.domain),
    )
    .map(({ text }) => text)
  if (missing.length === 0) return []
  return [
    `${listenerText(policy)}: recipients at ${abbreviated(missing)} are refused while they are only observed ` +
      `(${enforcementText(policy)}): rcpt_to.in_host_list accepts them only if config/host_list or ` +
      'config/host_list_regex has their domain',
  ]
}

// The situation of Q256856, in which Exchange refused everything.
function leftOverRestrictions(policies: readonly ListenerPolicy[]): readonly string[] {
  const affected = policies.filter(
    ({ restrictions }) => !restrictions.reroute && namesAnybody(restrictions),
  )
  if (affected.length === 0) return []
  const listeners = affected.map(listenerText).join(', ')
  return [
    `reroute = false while restrictions are still set (${listeners}): nobody may relay there, ` +
      'whatever hosts[], local_addresses[], authenticated or open say; recipients in the GAL are ' +
      'accepted all the same, from anyone. To let the listed clients relay, set reroute = true (Q256856)',
  ]
}

// Mail clients handle the 452 badly, and servers come back because of it; both are worth knowing.
function deferredKinds(policies: readonly ListenerPolicy[]): readonly string[] {
  const deferring = policies.filter(({ mixed }) => mixed === 'defer')
  const known: KnownPaths = new Map()
  return deferring.flatMap((policy) => {
    const { queue, outbound } = domainsByPath(policy, known)
    if (queue.length === 0 || outbound.length === 0) return []
    return [
      `mixed = defer on ${listenerText(policy)}: a message may be for recipients at ${abbreviated(queue)} ` +
        `(queue plugins) and at ${abbreviated(outbound)} (outbound queue); those of the second kind are ` +
        'answered 452, to be sent again',
    ]
  })
}

type DomainsByPath = Readonly<Record<Path, readonly string[]>>

/** Keyed by what can differ between the listeners of an install, which all have the same rows. */
export type KnownPaths = Map<string, DomainsByPath>

/**
 * The domains whose recipients go to the queue plugins, and those that leave by the outbound queue.
 * @param known the results for the install's other listeners
 */
export function domainsByPath(policy: ListenerPolicy, known: KnownPaths): DomainsByPath {
  const { routing, restrictions } = policy
  const relays = restrictions.reroute && namesAnybody(restrictions)
  const key = [relays, routing.reroute, routing.hostList.size].join()
  const domains = known.get(key) ?? splitByPath(routing, relays)
  known.set(key, domains)
  return domains
}

function splitByPath(routing: ListenerPolicy['routing'], relays: boolean): DomainsByPath {
  const queue = [...routing.hostList].filter((domain) => !findRow(routing.routes, domain))
  const outbound: string[] = []
  for (const { text, routeTo } of routing.routes.rows) {
    if (!('hops' in routeTo) || !counts(routeTo.kind, routing)) continue
    if (KINDS[routeTo.kind].senders === 'who-may-relay' && !relays) continue
    const paths = pathsOf(routeTo.kind, routeTo.hops)
    const isEither = paths.length > 1
    if (paths.includes('queue')) queue.push(isEither ? `${text} (listed)` : text)
    if (paths.includes('outbound')) outbound.push(isEither ? `${text} (not listed)` : text)
  }
  if (relays) outbound.push('foreign domains')
  return { queue, outbound }
}

/** Whether the restrictions, with `reroute = true`, let anybody relay. */
function namesAnybody(restrictions: ListenerPolicy['restrictions']): boolean {
  const { hosts, localAddresses, authenticated, open } = restrictions
  return hosts.entries.length > 0 || localAddresses.entries.length > 0 || authenticated || open
}

function withoutDefault({ directories: { without } }: Settings): readonly string[] {
  if (without.length === 0) return []
  return [
    `${without.join(', ')}: no effect, since there is no default directory ([ldap] url[]), and a ` +
      '[directory NAME] does not inherit it: write it there',
  ]
}

function unusedHosts({ directories, policies }: Settings): readonly string[] {
  const hasHosts = [...policies.values()].some(({ routing }) => routing.mailboxHosts.size > 0)
  const isUsed = directories.all.some(({ gal }) => gal.host_attribute || gal.mode === 'received')
  if (!hasHosts || isUsed) return []
  return ['[hosts] has no effect: no directory has a host_attribute']
}

function clearTextPassword({ ldap }: DirectorySettings): readonly string[] {
  if (ldap.starttls || !(ldap.bind_password || ldap.bind_password_file)) return []
  return ldap.url
    .filter(({ scheme, host }) => scheme !== 'ldaps' && !/^(\/|127\.|localhost$|::1$)/.test(host))
    .map(
      ({ text }) =>
        `the bind password crosses the network in clear text to ${text}: use ldaps:// or starttls = true`,
    )
}

function uncheckedServer({ ldap }: DirectorySettings): readonly string[] {
  const isTls = ldap.starttls || ldap.url.some(({ scheme }) => scheme === 'ldaps')
  return isTls && !ldap.tls_verify
    ? ['tls_verify = false: whoever can redirect our connections can impersonate the directory']
    : []
}

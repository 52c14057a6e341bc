// Where a message in the outbound queue goes at this attempt. Pure. Today's table decides if it
// names a way out for the domain, so that a postmaster moves waiting mail by editing a row; else the
// next hops it was accepted with.
import { destinationOf, rowFor } from '../routing/decide'
import { isOurs, KINDS, pathsOf } from '../routing/kinds'
import type { Recipient } from '../routing/recipient'
import { hopsOf, type NextHop, parseNextHop } from '../routing/routes'
import { saysWhere } from '../settings/directories'
import { acceptsUnasked, decidesRelaying } from '../settings/enforcement'
import type { Listener } from '../settings/own-host'
import { type ListenerPolicy, policyFor, type Settings } from '../settings/settings'
import type { NotedHop, RouteOfDomain } from './queue-note'

export type Attempt =
  | { readonly to: 'hops'; readonly hops: readonly NextHop[] }
  /** The MX hosts of better preference than ourselves. */
  | { readonly to: 'mx-before-us' }
  /** Whatever Haraka would do: another plugin's get_mx, or the MX hosts. */
  | { readonly to: 'mx' }
  | { readonly to: 'nowhere-now'; readonly reason: string }

export function isSameAttempt(one: Attempt, other: Attempt): boolean {
  if (one.to !== 'hops' || other.to !== 'hops') return one.to === other.to
  const [hops, others] = [one.hops, other.hops]
  return (
    hops.length === others.length &&
    hops.every(({ text, user }, i) => text === others[i]?.text && user === others[i]?.user)
  )
}

/**
 * @param recipient as it leaves
 * @param noted its route when it was accepted; undefined for mail that this Haraka wrote itself: bounces
 * @param listeners our own
 */
export function nextAttempt(
  settings: Settings,
  recipient: Recipient,
  noted: RouteOfDomain | undefined,
  listeners: readonly Listener[],
): Attempt {
  if (noted)
    return byCurrentRow(settings, recipient) ?? asAccepted(settings, recipient.domain, noted)
  return (
    toOurselves(settings, listeners, recipient) ?? byCurrentRow(settings, recipient) ?? { to: 'mx' }
  )
}

/** What counts on any listener counts for waiting mail: all have the same rows. undefined: none counts. */
export function policyOfRows(settings: Settings): ListenerPolicy | undefined {
  const following = [...settings.policies.values()].filter(followsRows)
  return following.find(({ routing }) => routing.reroute) ?? following[0]
}

/**
 * Whether recipients at the domain may take different ways: some have rows of their own.
 *
 * @param domain in the form that compares
 */
export function hasAddressRows(settings: Settings, domain: string): boolean {
  for (const { routing } of settings.policies.values()) {
    if (routing.routes.addresses.has(domain)) return true
  }
  return false
}

/**
 * For bounces, which have come in by no listener that follows the rows.
 *
 * @returns the recipient that a `reroute` row puts in the place of this one
 */
export function renamedTo(settings: Settings, recipient: Recipient): Recipient | undefined {
  for (const policy of settings.policies.values()) {
    if (!followsRows(policy)) continue
    const destination = destinationOf(policy.routing, recipient)
    if (destination.rerouted) return destination.recipient
  }
  return undefined
}

/** Mail that comes in there goes where the rows say. */
const followsRows = (policy: ListenerPolicy) => decidesRelaying(policy) || acceptsUnasked(policy)

/**
 * For a recipient of ours who is for the queue plugins, or whose way the directory knows: only a listener asks
 * it, and has the plugins. Haraka would go by the domain's MX record, find itself, and give up in the end.
 *
 * @returns undefined where no listener takes it
 */
export function toOurselves(
  settings: Settings,
  listeners: readonly Listener[],
  recipient: Recipient,
): Attempt | undefined {
  for (const { host, port } of listeners) {
    const address = host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host
    const policy = policyFor(settings, address, port)
    if (!followsRows(policy) || SUBMISSION_PORTS.has(port)) continue
    const { kind, hops } = destinationOf(policy.routing, recipient)
    const isLookedUp = isOurs(kind) && saysWhere(settings.directories, recipient.domain)
    if (!isLookedUp && !pathsOf(kind, hops).includes('queue')) continue
    const hop = parseNextHop(`smtp://${address.includes(':') ? `[${address}]` : address}:${port}`)
    if (!('problem' in hop)) return { to: 'hops', hops: [hop] }
  }
  return undefined
}

/** Haraka wants authentication there, or TLS from the first byte. */
const SUBMISSION_PORTS = new Set([465, 587])

// A plain inbound row names no way out of this queue, nor does one that renames: what was accepted
// before it was written keeps its next hops.
function byCurrentRow(settings: Settings, recipient: Recipient): Attempt | undefined {
  const policy = policyOfRows(settings)
  const routeTo = policy && rowFor(policy.routing, recipient)?.routeTo
  if (!routeTo || !('hops' in routeTo)) return undefined
  if (routeTo.hops.length > 0) return { to: 'hops', hops: routeTo.hops }
  return KINDS[routeTo.kind].backup ? { to: 'mx-before-us' } : undefined
}

/** The next hops that it was accepted with. */
export function asAccepted(
  settings: Settings,
  domain: string,
  { hops, backup }: RouteOfDomain,
): Attempt {
  if (backup) return { to: 'mx-before-us' }
  if (hops.length === 0) return { to: 'mx' }
  const usable = hops.map((hop) => withPassword(hop, settings)).filter((hop) => hop !== undefined)
  if (usable.length > 0) return { to: 'hops', hops: usable }
  const reason =
    `the row for ${domain} is gone from [routes], or the host from [hosts], and with it the password for ` +
    `${hops.map(({ url, user }) => `${user} at ${url}`).join(', ')}; put it back, or write another one`
  return { to: 'nowhere-now', reason }
}

function withPassword({ url, user }: NotedHop, { policies }: Settings): NextHop | undefined {
  if (user !== undefined) {
    // All listeners have the same rows and hosts.
    const [policy] = policies.values()
    const isIt = (hop: NextHop) => hop.text === url && hop.user === user
    for (const { routeTo } of policy?.routing.routes.rows ?? []) {
      const hop = hopsOf(routeTo).find(isIt)
      if (hop) return hop
    }
    for (const { hops } of policy?.routing.mailboxHosts.values() ?? []) {
      const hop = hops.find(isIt)
      if (hop) return hop
    }
    return undefined
  }
  const hop = parseNextHop(url)
  return 'problem' in hop ? undefined : hop
}

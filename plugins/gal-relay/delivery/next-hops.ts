// Where a queued message goes at this attempt. Pure. If the current table has a next hop for the domain, that
// one counts, so that a postmaster can redirect queued mail by editing a row. Otherwise the message keeps the
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
  /** The MX hosts that are preferred to ourselves. */
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
 * @param recipient the outgoing address
 * @param noted its route at the time it was accepted; undefined for bounces, which Haraka writes itself
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

/** All listeners share the same rows, so what counts on any of them counts for queued mail. */
export function policyOfRows(settings: Settings): ListenerPolicy | undefined {
  const following = [...settings.policies.values()].filter(followsRows)
  return following.find(({ routing }) => routing.reroute) ?? following[0]
}

/**
 * Whether recipients at the domain may have different next hops, because some have rows of their own.
 *
 * @param domain in canonical form
 */
export function hasAddressRows(settings: Settings, domain: string): boolean {
  for (const { routing } of settings.policies.values()) {
    if (routing.routes.addresses.has(domain)) return true
  }
  return false
}

/**
 * For bounces, which did not come in by a listener with rows.
 *
 * @returns the recipient that a `reroute` row replaces this one with
 */
export function renamedTo(settings: Settings, recipient: Recipient): Recipient | undefined {
  for (const policy of settings.policies.values()) {
    if (!followsRows(policy)) continue
    const destination = destinationOf(policy.routing, recipient)
    if (destination.rerouted) return destination.recipient
  }
  return undefined
}

/** A listener where mail goes where the rows say. */
const followsRows = (policy: ListenerPolicy) => decidesRelaying(policy) || acceptsUnasked(policy)

/**
 * For a recipient of ours that goes to the queue plugins, or whose next hop comes from the directory: only a
 * listener has these. By itself Haraka would follow the domain's MX record to this server, and give up.
 *
 * @returns undefined if no listener takes it
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

/** Listeners where Haraka requires authentication, or TLS from the first byte. */
const SUBMISSION_PORTS = new Set([465, 587])

// A plain inbound row and a row that renames have no next hop: mail that was accepted before such a row was
// written keeps the next hops it has.
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

// Where a message in the outbound queue goes at this attempt. Pure. Today's table decides if it
// names a way out for the domain, so that a postmaster moves waiting mail by editing a row; else the
// next hops it was accepted with.
import { destinationOf, rowFor } from '../routing/decide'
import { KINDS, pathsOf } from '../routing/kinds'
import type { Recipient } from '../routing/recipient'
import { hopsOf, type NextHop, parseNextHop, type RouteTable } from '../routing/routes'
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
  const policies = [...settings.policies.values()]
  const following = policies.filter(followsRows)
  if (noted) return today(following, recipient) ?? asAccepted(policies, recipient.domain, noted)
  return toOurselves(settings, listeners, recipient) ?? today(following, recipient) ?? { to: 'mx' }
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

// A bounce to a domain of ours: only a listener knows whether the recipient is listed, and has the
// queue plugins. Haraka would go by the domain's MX record, find itself, and give up in the end.
function toOurselves(
  settings: Settings,
  listeners: readonly Listener[],
  recipient: Recipient,
): Attempt | undefined {
  for (const { host, port } of listeners) {
    const address = host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host
    const policy = policyFor(settings, address, port)
    if (!followsRows(policy) || SUBMISSION_PORTS.has(port)) continue
    const { kind, hops } = destinationOf(policy.routing, recipient)
    if (!pathsOf(kind, hops).includes('queue')) continue
    const hop = parseNextHop(`smtp://${address.includes(':') ? `[${address}]` : address}:${port}`)
    if (!('problem' in hop)) return { to: 'hops', hops: [hop] }
  }
  return undefined
}

/** Haraka wants authentication there, or TLS from the first byte. */
const SUBMISSION_PORTS = new Set([465, 587])

// A plain inbound row names no way out of this queue, nor does one that renames: what was accepted
// before it was written keeps its next hops.
function today(policies: readonly ListenerPolicy[], recipient: Recipient): Attempt | undefined {
  // What counts on any listener counts here: all have the same rows.
  const policy = policies.find(({ routing }) => routing.reroute) ?? policies[0]
  const routeTo = policy && rowFor(policy.routing, recipient)?.routeTo
  if (!routeTo || !('hops' in routeTo)) return undefined
  if (routeTo.hops.length > 0) return { to: 'hops', hops: routeTo.hops }
  return KINDS[routeTo.kind].backup ? { to: 'mx-before-us' } : undefined
}

function asAccepted(
  policies: readonly ListenerPolicy[],
  domain: string,
  { hops, backup }: RouteOfDomain,
): Attempt {
  if (backup) return { to: 'mx-before-us' }
  if (hops.length === 0) return { to: 'mx' }
  const table = policies[0]?.routing.routes
  const usable = hops.map((hop) => withPassword(hop, table)).filter((hop) => hop !== undefined)
  if (usable.length > 0) return { to: 'hops', hops: usable }
  const reason =
    `the row for ${domain} is gone from [routes], and with it the password for ` +
    `${hops.map(({ url, user }) => `${user} at ${url}`).join(', ')}; put the row back, or write another`
  return { to: 'nowhere-now', reason }
}

function withPassword({ url, user }: NotedHop, table: RouteTable | undefined): NextHop | undefined {
  if (user !== undefined) {
    for (const { routeTo } of table?.rows ?? []) {
      const hop = hopsOf(routeTo).find((one) => one.text === url && one.user === user)
      if (hop) return hop
    }
    return undefined
  }
  const hop = parseNextHop(url)
  return 'problem' in hop ? undefined : hop
}

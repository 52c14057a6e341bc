// Where a message in the outbound queue goes at this attempt. Pure. Today's table decides if it
// names a way out for the domain, so that a postmaster moves waiting mail by editing a row; else the
// next hops it was accepted with.
import { destinationOf } from '../routing/decide'
import { canonicalDomain, recipientOf } from '../routing/recipient'
import { findRow, type NextHop, parseNextHop } from '../routing/routes'
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

/**
 * @param noted its route when it was accepted; undefined for mail that this Haraka wrote itself: bounces
 * @param listeners our own
 */
export function nextAttempt(
  settings: Settings,
  domain: string,
  noted: RouteOfDomain | undefined,
  listeners: readonly Listener[],
): Attempt {
  const policies = [...settings.policies.values()]
  const following = policies.filter(followsRows)
  if (noted) return today(following, domain) ?? asAccepted(policies, domain, noted)
  return toOurselves(settings, listeners, domain) ?? today(following, domain) ?? { to: 'mx' }
}

/**
 * For bounces, which have come in by no listener that follows the rows.
 *
 * @returns the domain that a `reroute` row puts in the place of this one
 */
export function renamedTo(settings: Settings, domain: string): string | undefined {
  for (const policy of settings.policies.values()) {
    if (!followsRows(policy)) continue
    const { recipient, rerouted } = destinationOf(policy.routing, recipientOf('', domain))
    if (rerouted) return recipient.domain
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
  domain: string,
): Attempt | undefined {
  for (const { host, port } of listeners) {
    const address = host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host
    const policy = policyFor(settings, address, port)
    if (!followsRows(policy) || SUBMISSION_PORTS.has(port)) continue
    const { kind, hops } = destinationOf(policy.routing, recipientOf('', domain))
    const ours = kind === 'shared' || (kind === 'inbound' && hops.length === 0)
    if (!ours) continue
    const hop = parseNextHop(`smtp://${address.includes(':') ? `[${address}]` : address}:${port}`)
    if (!('problem' in hop)) return { to: 'hops', hops: [hop] }
  }
  return undefined
}

/** Haraka wants authentication there, or TLS from the first byte. */
const SUBMISSION_PORTS = new Set([465, 587])

// A plain inbound row names no way out of this queue, nor does one that renames: what was accepted
// before it was written keeps its next hops.
function today(policies: readonly ListenerPolicy[], domain: string): Attempt | undefined {
  const routing = policies[0]?.routing
  const routeTo = routing && findRow(routing.routes, canonicalDomain(domain))?.routeTo
  if (!routeTo || routeTo.kind === 'reroute') return undefined
  // With `reroute = false` everywhere, rows other than inbound do not exist.
  const exists = routeTo.kind === 'inbound' || policies.some(({ routing }) => routing.reroute)
  if (!exists) return undefined
  if (routeTo.hops.length > 0) return { to: 'hops', hops: routeTo.hops }
  return routeTo.kind === 'always-relay' ? { to: 'mx-before-us' } : undefined
}

function asAccepted(
  policies: readonly ListenerPolicy[],
  domain: string,
  { hops, backup }: RouteOfDomain,
): Attempt {
  if (backup) return { to: 'mx-before-us' }
  if (hops.length === 0) return { to: 'mx' }
  const rows = policies[0]?.routing.routes.rows ?? []
  const known = rows.flatMap(({ routeTo }) => (routeTo.kind === 'reroute' ? [] : routeTo.hops))
  const usable = hops.map((hop) => withPassword(hop, known)).filter((hop) => hop !== undefined)
  if (usable.length > 0) return { to: 'hops', hops: usable }
  const reason =
    `the row for ${domain} is gone from [routes], and with it the password for ` +
    `${hops.map(({ url, user }) => `${user} at ${url}`).join(', ')}; put the row back, or write another`
  return { to: 'nowhere-now', reason }
}

function withPassword({ url, user }: NotedHop, known: readonly NextHop[]): NextHop | undefined {
  if (user !== undefined) return known.find((hop) => hop.text === url && hop.user === user)
  const hop = parseNextHop(url)
  return 'problem' in hop ? undefined : hop
}

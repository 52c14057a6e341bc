// Where a message in the outbound queue goes at this attempt. Pure. Today's table decides if it
// names a way out for the domain, so that a postmaster moves waiting mail by editing a row; else the
// next hops it was accepted with.
import { canonicalDomain } from '../routing/recipient'
import { findRow, type NextHop, parseNextHop } from '../routing/routes'
import type { ListenerPolicy, Settings } from '../settings/settings'
import type { KeptHop, RouteOfDomain } from './kept'

export type Attempt =
  | { readonly to: 'hops'; readonly hops: readonly NextHop[] }
  /** The MX hosts of better preference than ourselves. */
  | { readonly to: 'mx-before-us' }
  /** Whatever Haraka would do: another plugin's get_mx, or the MX hosts. */
  | { readonly to: 'mx' }
  | { readonly to: 'nowhere-now'; readonly reason: string }

/** @param kept undefined for mail that this Haraka wrote itself: bounces */
export function nextAttempt(
  settings: Settings,
  domain: string,
  kept: RouteOfDomain | undefined,
): Attempt {
  const enabled = [...settings.policies.values()].filter((policy) => policy.enabled)
  return today(enabled, domain) ?? (kept ? asAccepted(enabled, domain, kept) : { to: 'mx' })
}

// A plain inbound row names no way out of this queue, nor does one that renames: what was accepted
// before it was written keeps its next hops.
function today(enabled: readonly ListenerPolicy[], domain: string): Attempt | undefined {
  const routing = enabled[0]?.routing
  const routeTo = routing && findRow(routing.routes, canonicalDomain(domain))?.routeTo
  if (!routeTo || routeTo.kind === 'reroute') return undefined
  // With `reroute = false` everywhere, rows other than inbound do not exist.
  const exists = routeTo.kind === 'inbound' || enabled.some(({ routing }) => routing.reroute)
  if (!exists) return undefined
  if (routeTo.hops.length > 0) return { to: 'hops', hops: routeTo.hops }
  return routeTo.kind === 'always-relay' ? { to: 'mx-before-us' } : undefined
}

function asAccepted(
  enabled: readonly ListenerPolicy[],
  domain: string,
  { hops, backup }: RouteOfDomain,
): Attempt {
  if (backup) return { to: 'mx-before-us' }
  if (hops.length === 0) return { to: 'mx' }
  const rows = enabled[0]?.routing.routes.rows ?? []
  const known = rows.flatMap(({ routeTo }) => (routeTo.kind === 'reroute' ? [] : routeTo.hops))
  const usable = hops.map((hop) => withPassword(hop, known)).filter((hop) => hop !== undefined)
  if (usable.length > 0) return { to: 'hops', hops: usable }
  const reason =
    `the row for ${domain} is gone from [routes], and with it the password for ` +
    `${hops.map(({ url, user }) => `${user} at ${url}`).join(', ')}; put the row back, or write another`
  return { to: 'nowhere-now', reason }
}

function withPassword({ url, user }: KeptHop, known: readonly NextHop[]): NextHop | undefined {
  if (user !== undefined) return known.find((hop) => hop.text === url && hop.user === user)
  const hop = parseNextHop(url)
  return 'problem' in hop ? undefined : hop
}

// Finds what can never make a difference in valid settings: rows and entries that another one covers.

import { destinationOf, domainRoute, type RoutingPolicy } from '../routing/decide'
import { counts, KINDS, type RouteKind } from '../routing/kinds'
import { hasLocalPart } from '../routing/local-parts'
import type { Network, NetworkList } from '../routing/networks'
import { type Recipient, recipientNamed } from '../routing/recipient'
import { findAddressRow, findRow, type Row, routeText } from '../routing/routes'
import type { ListenerPolicy, Settings } from '../settings/settings'

/** A sentence for each row and entry that no mail ever reaches. */
export function unreachable(settings: Settings): readonly string[] {
  const policies = [...settings.policies.values()].filter(({ enabled }) => enabled)
  return [...unreachableRows(policies), ...swallowedEntries(policies)]
}

// ── Rows ─────────────────────────────────────────────────────────────────────────────────────────

function unreachableRows(policies: readonly ListenerPolicy[]): readonly string[] {
  const [first] = policies
  if (!first) return []
  const { routes } = first.routing
  const { rows, suffix } = routes
  const listed = new Map([...hostsOf(policies)].map((domain) => [domain, findRow(routes, domain)]))
  const ofListed = new Set(listed.values())
  const lines: string[] = []
  for (const row of rows) {
    const { sentTo, routeTo } = row
    const text = `[routes] ${row.text} = ${routeText(routeTo)}`
    if (!policies.some(({ routing }) => counts(routeTo.kind, routing))) {
      const why = `with reroute = false there are no ${routeTo.kind} rows`
      const behind = sentTo.match === 'address' ? undefined : widerRow(row, suffix)
      const hidesRow =
        behind && policies.some(({ routing }) => counts(behind.routeTo.kind, routing))
      const hides = hidesRow || ofListed.has(row)
      lines.push(
        hides
          ? `${text} only makes ${sentTo.domain} foreign: ${why}`
          : `${text} has no effect: ${why}`,
      )
      continue
    }
    if (sentTo.match === 'address') {
      const why = unmet(row, sentTo, policies)
      if (why) lines.push(`${text} ${why}`)
      continue
    }
    const wider = widerRow(row, suffix)
    if (wider && routeText(wider.routeTo) === routeText(routeTo)) {
      lines.push(`${text} changes nothing: row ${wider.text} says the same`)
    }
    const further = routeTo.kind === 'reroute' ? reroutedFurther(row, first) : []
    if (further.length > 0) {
      lines.push(
        `${text} leads to an address with a reroute row of its own (${further.join(', ')}), which is ` +
          'not followed: a recipient is rerouted once; write a row for the address at ' +
          sentTo.domain,
      )
    }
  }
  for (const [domain, row] of listed) {
    if (row && row.routeTo.kind !== 'inbound') {
      lines.push(
        `config/host_list: ${domain} is not inbound, because row ${row.text} is ${row.routeTo.kind}`,
      )
    }
  }
  return lines
}

type Address = Extract<Row['sentTo'], { match: 'address' }>

/** @returns why this row makes no difference to any mail */
function unmet(
  row: Row,
  { domain, local }: Address,
  policies: readonly ListenerPolicy[],
): string | undefined {
  const { routeTo } = row
  const recipient = recipientNamed(local, domain)
  if (routeTo.kind !== 'refuse') {
    const text = routeText(routeTo)
    const routes = policies.map(({ routing }) => domainRoute(routing, domain))
    const same = routes.every(
      ({ kind, hops, rerouted }) =>
        !rerouted && [kind, ...hops.map((hop) => hop.text)].join(' ') === text,
    )
    if (!same || policies.some(({ routing }) => hasRowOfBase(row, recipient, routing))) {
      return undefined
    }
    return `changes nothing: ${routes[0]?.row} says the same`
  }
  const isOpen = ({ restrictions: { reroute, open, never } }: ListenerPolicy) =>
    reroute && open && never.entries.length === 0
  if (policies.every(isOpen)) return 'refuses nobody: everybody may relay'
  // The row itself is passed over there.
  const kinds = policies.map(({ routing }) => destinationOf(routing, recipient).kind)
  const isForeign = (kind: RouteKind) => KINDS[kind].senders === 'who-may-relay'
  if (kinds.every(isForeign) && !policies.some(({ routing }) => routing.anyDomain)) {
    return `refuses only clients that are refused anyway: ${domain} is foreign`
  }
  const isAlwaysAccepted = policies.every(
    ({ routing }, i) =>
      KINDS[kinds[i] ?? 'foreign'].lookUp === 'required' &&
      hasLocalPart(routing.alwaysAccept, local),
  )
  return isAlwaysAccepted ? `refuses nobody: ${local} is in always_accept` : undefined
}

/** Without the row, that of the address without its detail would count. */
function hasRowOfBase(row: Row, recipient: Recipient, routing: RoutingPolicy): boolean {
  const { domain } = recipient
  const rows = routing.routes.addresses.get(domain)
  const isOther = (one: Row) => one !== row && counts(one.routeTo.kind, routing)
  return Boolean(rows && findAddressRow(rows, recipient, routing.delimitersFor(domain), isOther))
}

/** The addresses at the domain that a `reroute` row leads to, whose own `reroute` rows are not followed. */
function reroutedFurther({ sentTo, routeTo }: Row, { routing }: ListenerPolicy): readonly string[] {
  if (routeTo.kind !== 'reroute') return []
  const { addresses } = routing.routes
  const own = addresses.get(sentTo.domain)
  return [...(addresses.get(routeTo.domain) ?? [])].flatMap(([local, row]) =>
    row.routeTo.kind === 'reroute' && !own?.has(local) ? [row.text] : [],
  )
}

/** The row that would match without this one. */
function widerRow({ sentTo }: Row, suffix: ReadonlyMap<string, Row>): Row | undefined {
  const { match, domain } = sentTo
  if (domain.startsWith('[')) return undefined
  let rest = match === 'exact' ? domain : parentOf(domain)
  while (rest !== '') {
    const row = suffix.get(rest)
    if (row) return row
    rest = parentOf(rest)
  }
  return undefined
}

const parentOf = (domain: string) =>
  domain.includes('.') ? domain.slice(domain.indexOf('.') + 1) : ''

const hostsOf = (policies: readonly ListenerPolicy[]) =>
  new Set(policies.flatMap(({ routing }) => [...routing.hostList]))

// ── Entries ──────────────────────────────────────────────────────────────────────────────────────

function swallowedEntries(policies: readonly ListenerPolicy[]): readonly string[] {
  /** By list and entry; undefined where it counts on one of the listeners. */
  const lines = new Map<string, string | undefined>()
  const seen = new Map<NetworkList, Set<NetworkList | undefined>>()
  const add = (name: string, list: NetworkList, never?: NetworkList) => {
    const others = seen.get(list) ?? new Set()
    if (others.has(never)) return
    seen.set(list, others.add(never))
    const inSame = widest(list)
    const inNever = never && widest(never)
    for (const entry of list.entries) {
      const key = `${name} = ${entry.text}`
      const line = swallowedBy(key, name, inNever?.(entry), inSame(entry))
      if (!lines.has(key) || !line) lines.set(key, line)
    }
  }
  for (const { restrictions } of policies) {
    const { hosts, never, localAddresses } = restrictions
    add('hosts[]', hosts, never)
    add('never[]', never)
    add('local_addresses[]', localAddresses)
  }
  return [...lines.values()].filter((line) => line !== undefined)
}

function swallowedBy(
  text: string,
  name: string,
  never: Network | undefined,
  same: Network | undefined,
): string | undefined {
  if (never) return `${text} lets nobody relay: it is in never[] = ${never.text}`
  return same && `${text} changes nothing: it is in ${name} = ${same.text}`
}

/**
 * @returns a function that finds another entry of the list that covers all addresses of the given one,
 *   that is, one that checks no further bits and requires the same values; of equal ones, the first
 */
function widest(list: NetworkList): (entry: Network) => Network | undefined {
  const byMask = new Map<string, { mask: bigint; family: 4 | 6; nets: Map<string, Network> }>()
  for (const entry of list.entries) {
    const { family, mask, net } = entry
    const key = `${family} ${mask}`
    const group = byMask.get(key) ?? { family, mask, nets: new Map<string, Network>() }
    byMask.set(key, group)
    if (!group.nets.has(`${net}`)) group.nets.set(`${net}`, entry)
  }
  return (entry) => {
    for (const { family, mask, nets } of byMask.values()) {
      if (family !== entry.family || (mask & entry.mask) !== mask) continue
      const other = nets.get(`${entry.net & mask}`)
      if (other && other !== entry) return other
    }
    return undefined
  }
}

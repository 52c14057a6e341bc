// Finds what can never make a difference in valid settings: rows and entries that another one covers.

import { domainRoute } from '../routing/decide'
import { counts, KINDS } from '../routing/kinds'
import { hasLocalPart } from '../routing/local-parts'
import type { Network, NetworkList } from '../routing/networks'
import { type Row, routeText } from '../routing/routes'
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
  const { rows, exact, suffix } = first.routing.routes
  const lines: string[] = []
  for (const row of rows) {
    const { sentTo, routeTo } = row
    const text = `[routes] ${row.text} = ${routeText(routeTo)}`
    if (!policies.some(({ routing }) => counts(routeTo.kind, routing))) {
      lines.push(`${text} has no effect: with reroute = false there are no ${routeTo.kind} rows`)
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
  for (const domain of hostsOf(policies)) {
    const row = exact.get(domain) ?? suffix.get(domain)
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
  { routeTo }: Row,
  { domain, local }: Address,
  policies: readonly ListenerPolicy[],
): string | undefined {
  const routes = policies.map(({ routing }) => domainRoute(routing, domain))
  if (routeTo.kind !== 'refuse') {
    const text = routeText(routeTo)
    const same = routes.every(
      ({ kind, hops, rerouted }) =>
        !rerouted && [kind, ...hops.map((hop) => hop.text)].join(' ') === text,
    )
    return same ? `changes nothing: ${routes[0]?.row} says the same` : undefined
  }
  if (policies.every(({ restrictions: { reroute, open } }) => reroute && open)) {
    return 'refuses nobody: everybody may relay'
  }
  if (routes.every(({ kind }) => KINDS[kind].senders === 'who-may-relay')) {
    return `refuses only clients that are refused anyway: ${domain} is foreign`
  }
  const isAlwaysAccepted = policies.every(
    ({ routing }, i) =>
      KINDS[routes[i]?.kind ?? 'foreign'].lookUp === 'required' &&
      hasLocalPart(routing.alwaysAccept, local),
  )
  return isAlwaysAccepted ? `refuses nobody: ${local} is in always_accept` : undefined
}

/** The addresses at the domain that a `reroute` row leads to; their own `reroute` rows are not followed. */
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
  const lines = new Set<string>()
  for (const { restrictions } of policies) {
    const { hosts, never, localAddresses } = restrictions
    const lists = [
      ['hosts[]', hosts, 'never[]', never],
      ['never[]', never, undefined, undefined],
      ['local_addresses[]', localAddresses, undefined, undefined],
    ] as const
    for (const [name, list, otherName, other] of lists) {
      const inSame = widest(list)
      const inOther = other && widest(other)
      for (const entry of list.entries) {
        const exception = inOther?.(entry)
        const same = inSame(entry)
        if (exception) {
          lines.add(
            `${name} = ${entry.text} lets nobody relay: it is in ${otherName} = ${exception.text}`,
          )
        } else if (same) {
          lines.add(`${name} = ${entry.text} changes nothing: it is in ${name} = ${same.text}`)
        }
      }
    }
  }
  return [...lines]
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

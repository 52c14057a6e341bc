// Domains of a directory at which no recipient is ever looked up.
import { domainRoute } from '../routing/decide'
import { counts, isOurs } from '../routing/kinds'
import type { SentTo } from '../routing/routes'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { domainText, firstOf } from './directories'

/** @returns a sentence for each such domain */
export function unusedDomains({ directories, policies }: Settings): readonly string[] {
  const enabled = [...policies.values()].filter(({ enabled }) => enabled)
  if (enabled.length === 0 || directories.all.every(({ domains }) => domains.length === 0)) {
    return []
  }
  const uses = usesOf(enabled)
  const unused = directories.all.flatMap(({ name, domains }) =>
    domains
      .filter((one) => !uses.some((isUsed) => isUsed(one)))
      .map(
        (one) =>
          `[directory ${name}] domains[] = ${domainText(one)} has no effect: no row and no line of ` +
          'config/host_list makes it inbound or shared',
      ),
  )
  return firstOf(unused)
}

/** One function for all listeners that have the same domains. */
function usesOf(policies: readonly ListenerPolicy[]): ((domain: SentTo) => boolean)[] {
  const uses = new Map<string, (domain: SentTo) => boolean>()
  for (const { routing } of policies) {
    const key = [routing.reroute, routing.hostList.size].join()
    if (!uses.has(key)) uses.set(key, useOf(routing))
  }
  return [...uses.values()]
}

function useOf(routing: ListenerPolicy['routing']): (domain: SentTo) => boolean {
  if (routing.anyDomain) return () => true
  const { rows } = routing.routes
  const ofAddresses = new Set(
    rows
      .filter(({ sentTo, routeTo }) => {
        const counted = 'hops' in routeTo && counts(routeTo.kind, routing)
        return sentTo.match === 'address' && counted && isOurs(routeTo.kind)
      })
      .map(({ sentTo }) => sentTo.domain),
  )
  const isLookedUp = (name: string) => {
    if (ofAddresses.has(name)) return true
    const { kind, rerouted } = domainRoute(routing, name)
    return !rerouted && isOurs(kind)
  }
  /** Domains with a subdomain at which recipients are looked up. */
  const above = new Set<string>()
  for (const name of [...rows.map(({ sentTo }) => sentTo.domain), ...routing.hostList]) {
    if (!name.includes('.') || name.startsWith('[') || !isLookedUp(name)) continue
    for (let at = name.indexOf('.'); at >= 0; at = name.indexOf('.', at + 1)) {
      above.add(name.slice(at + 1))
    }
  }
  return ({ match, domain }) =>
    isLookedUp(domain) ||
    // A subdomain that no row names uses the row of the domain above it.
    (match === 'suffix' && (above.has(domain) || isLookedUp(`x.${domain}`)))
}

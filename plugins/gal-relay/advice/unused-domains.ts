// Domains of a directory at which no recipient is ever looked up.
import { domainRoute } from '../routing/decide'
import { counts, isOurs } from '../routing/kinds'
import { domainText, exactText } from '../routing/routes'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { firstOf } from './directories'

/** @returns a sentence for each such domain */
export function unusedDomains({ directories, policies }: Settings): readonly string[] {
  const enabled = [...policies.values()].filter(({ enabled }) => enabled)
  const all = directories.all.flatMap(({ domains }) => domains)
  if (enabled.length === 0 || all.length === 0) return []
  const used = new Map(directories.all.map(({ name }) => [name, new Set<string>()]))
  for (const { routing } of ofEachKind(enabled)) {
    const isLookedUp = lookedUp(routing)
    const use = (name: string) => {
      const asked = directories.byDomain.find(name)
      if (!asked || !isLookedUp(name)) return
      for (const directory of asked)
        for (const text of matching(name)) used.get(directory.name)?.add(text)
    }
    for (const { domain } of [...routing.routes.rows.map(({ sentTo }) => sentTo), ...all]) {
      use(domain)
      // A subdomain that nobody names.
      use(`*.${domain}`)
    }
    for (const name of routing.hostList) use(name)
  }
  const unused = directories.all.flatMap(({ name, domains }) =>
    domains
      .map(domainText)
      .filter((text) => !used.get(name)?.has(text))
      .map((text) => `[directory ${name}] domains[] = ${text} has no effect: ${WHY}`),
  )
  return firstOf(unused)
}

/** What may stand in `domains[]` of a directory that is asked for recipients at the domain. */
function* matching(domain: string): Iterable<string> {
  yield exactText(domain)
  if (domain.startsWith('[')) return
  for (let rest = domain; ; rest = rest.slice(rest.indexOf('.') + 1)) {
    yield rest
    if (!rest.includes('.')) return
  }
}

const WHY =
  'no row and no line of config/host_list makes a domain inbound or shared that is looked up there'

/** One of all listeners whose domains are the same. */
function ofEachKind(policies: readonly ListenerPolicy[]): Iterable<ListenerPolicy> {
  const kinds = new Map<string, ListenerPolicy>()
  for (const policy of policies) {
    const { reroute, hostList } = policy.routing
    kinds.set([reroute, hostList.size].join(), policy)
  }
  return kinds.values()
}

/** Whether recipients at a domain are looked up. */
function lookedUp(routing: ListenerPolicy['routing']): (domain: string) => boolean {
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
  return (name) => {
    if (ofAddresses.has(name)) return true
    const { kind, rerouted } = domainRoute(routing, name)
    return !rerouted && isOurs(kind)
  }
}

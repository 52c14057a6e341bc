// Domains of a directory at which no recipient is ever looked up.
import { domainRoute } from '../routing/decide'
import { KINDS } from '../routing/kinds'
import type { SentTo } from '../routing/routes'
import type { ListenerPolicy, Settings } from '../settings/settings'

/** @returns a sentence for each */
export function unusedDomains({ directories, policies }: Settings): readonly string[] {
  const enabled = [...policies.values()].filter(({ enabled }) => enabled)
  if (enabled.length === 0) return []
  return directories.all.flatMap(({ name, domains }) =>
    domains
      .filter((one) => !enabled.some((policy) => isUsed(policy, one)))
      .map(
        (one) =>
          `[directory ${name}] domains[] = ${textOf(one)} has no effect: no row and no line of ` +
          'config/host_list makes it inbound or shared',
      ),
  )
}

function isUsed({ routing }: ListenerPolicy, { match, domain }: SentTo): boolean {
  const isLookedUp = (name: string) =>
    ['required', 'first'].includes(KINDS[domainRoute(routing, name).kind].lookUp)
  if (isLookedUp(domain)) return true
  if (match === 'exact') return false
  const below = `.${domain}`
  const rows = routing.routes.rows.map(({ sentTo }) => sentTo.domain)
  // A subdomain that nobody names has the row of the domain above it.
  return [`x${below}`, ...rows, ...routing.hostList].some(
    (name) => name.endsWith(below) && isLookedUp(name),
  )
}

const textOf = ({ match, domain }: SentTo) => (match === 'exact' ? `@${domain}` : domain)

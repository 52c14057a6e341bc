// config/host_list: the domains that Haraka takes mail for.
import { canonicalLiteral } from '../routing/recipient'
import { parseDomain } from '../routing/routes'
import type { Steps } from './steps'

/** Returns the domains in config/host_list, and the lines that are no domain and so are not inbound. */
export function* inboundHosts(
  hostList: readonly string[],
): Steps<{ readonly domains: ReadonlySet<string>; readonly unusable: readonly string[] }> {
  const domains = new Set<string>()
  const unusable: string[] = []
  for (const line of hostList) {
    yield
    const domain = canonicalLiteral(line) ?? parseDomain(line)
    if (domain === undefined) unusable.push(line)
    else domains.add(domain)
  }
  return { domains, unusable }
}

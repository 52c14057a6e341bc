// The domains that are inbound, as they are written.
import { findRow, type RouteTable } from '../routing/routes'

/** @param hostList the domains of config/host_list that count */
export function* inboundDomains(routes: RouteTable, hostList: Iterable<string>): Generator<string> {
  for (const { text, routeTo, sentTo } of routes.rows) {
    if (routeTo.kind === 'inbound' && sentTo.match !== 'address') yield text
  }
  for (const domain of hostList) {
    // Its row has been named, or says otherwise. A subdomain of an inbound domain is named all the same.
    const row = findRow(routes, domain)
    if (!row || (row.routeTo.kind === 'inbound' && row.sentTo.domain !== domain)) yield domain
  }
}

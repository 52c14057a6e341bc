// [routes]: reads each row, and reports what is wrong with the rows as a whole.
import { addressText, localKey, type Recipient, recipientNamed } from '../routing/recipient'
import {
  findRow,
  hopsOf,
  parseRouteTo,
  parseSentTo,
  type RouteTable,
  RouteTableBuilder,
  type Row,
  routeText,
} from '../routing/routes'
import { type OwnHost, ownListener } from './own-host'
import { homeOf, type SectionReader, shown } from './sections'
import type { Steps } from './steps'

const section = 'routes'

/** @param own this host, which no row may name as its next hop */
export function* readRoutes(sections: SectionReader, own: OwnHost | undefined): Steps<RouteTable> {
  const table = new RouteTableBuilder()
  for (const [key, value] of sections.entries(section)) {
    yield
    const report = (what: string) =>
      sections.report({ section, key, value: shown(key, value), what })
    const sentTo = parseSentTo(key)
    if ('problem' in sentTo) {
      report(sentTo.problem)
      continue
    }
    const what = sentTo.match === 'address' ? 'an address' : 'a domain'
    if (typeof value !== 'string') {
      report(`${what} can have only one row; write ${key} = … without []`)
      continue
    }
    const routeTo = parseRouteTo(value, sentTo)
    if ('problem' in routeTo) {
      const home = homeOf(key)
      report(home ? `belongs in [${home}]` : routeTo.problem)
      continue
    }
    for (const hop of hopsOf(routeTo)) {
      const listener = own && ownListener(own, hop)
      if (listener)
        report(`${hop.text} is this Haraka itself, which listens on ${listener}: a loop`)
    }
    const twin = table.add({ sentTo, routeTo, text: key })
    if (twin)
      report(`is the same ${what.slice(2).trim()} as '${twin.text}'; ${what} can have only one row`)
  }
  for (const row of table.rows) {
    yield
    if (row.routeTo.kind !== 'reroute') continue
    const chain = rerouteChain(table, row)
    if (!chain) continue
    const value = routeText(row.routeTo)
    sections.report({ section, key: row.text, value, what: chainProblem(chain, row) })
  }
  return table
}

/** The most steps to follow: each row of a long chain is reported, and they all end alike. */
const CHAIN = 20

function chainProblem(chain: readonly string[], { sentTo }: Row): string {
  const last = chain.at(-1) ?? ''
  const steps = chain.join(' → ')
  const what = sentTo.match === 'address' ? 'an address' : 'a domain'
  if (chain.indexOf(last) < chain.length - 1) {
    return `is a loop: ${steps}; ${what} is rerouted only once`
  }
  const points = `points to another reroute row: ${steps}`
  if (chain.length > CHAIN) return `${points} → …; ${what} is rerouted once`
  return `${points}; ${what} is rerouted once, probably meant: reroute ${last}`
}

/** What a row applies to: a domain, or one address at it. */
type Place = Recipient | { readonly domain: string; readonly plainLocal?: undefined }

const placeText = (place: Place) =>
  place.plainLocal === undefined ? place.domain : addressText(place)

/** The row for an address or a domain, skipping `refuse` rows. */
function rowAt(table: RouteTable, place: Place): Row | undefined {
  const own =
    place.plainLocal === undefined
      ? undefined
      : table.addresses.get(place.domain)?.get(localKey(place))
  return own && own.routeTo.kind !== 'refuse' ? own : findRow(table, place.domain)
}

// The domains or addresses that a recipient would pass through, if there is more than one step.
function rerouteChain(table: RouteTable, first: Row): readonly string[] | undefined {
  let place: Place = placeOf(first)
  const chain = [placeText(place)]
  for (let row: Row | undefined = first; row?.routeTo.kind === 'reroute'; ) {
    const { domain, mailbox } = row.routeTo
    place = mailbox ?? { ...place, domain }
    const text = placeText(place)
    const seen = chain.includes(text)
    chain.push(text)
    row = rowAt(table, place)
    // A domain's subdomains may be rerouted to it, where it has an exact row of its own.
    if (row?.routeTo.kind !== 'reroute') break
    if (seen || chain.length > CHAIN) return chain
    if (row === first) return [...chain, placeText(placeOf(first))]
  }
  return chain.length > 2 ? chain : undefined
}

function placeOf({ sentTo }: Row): Place {
  const { domain } = sentTo
  return sentTo.match === 'address' ? recipientNamed(sentTo.local, domain) : { domain }
}

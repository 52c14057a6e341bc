// What gal-relay check finds in the routing table: rows for addresses, compared with what the
// directory says about them, and next hops.
import { HostAddresses } from '../delivery/host-addresses'
import type { Finding } from '../gal/directory/finding'
import { type Destination, destinationOf, domainRoute } from '../routing/decide'
import { KINDS } from '../routing/kinds'
import { atDomain, type Recipient, recipientNamed } from '../routing/recipient'
import { hopsOf, type NextHop } from '../routing/routes'
import { ownHost, ownListener } from '../settings/own-host'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { openLists } from './install'

/** The most addresses to look up. */
const LOOKED_UP = 50

/** Compares rows for single addresses with what the directory says about them. */
export async function addressFindings(settings: Settings): Promise<Finding[]> {
  const [policy] = settings.policies.values()
  const rows = policy ? besideDirectory(policy.routing).slice(0, LOOKED_UP) : []
  if (rows.length === 0) return []
  const lists = openLists(settings)
  try {
    const findings = rows.map(async ({ recipient, text, kind }): Promise<Finding[]> => {
      const { directory, answer } = await lists.lookupIn(recipient)
      const { state } = answer
      const which = settings.directories.all.length > 1 ? `directory ${directory}` : 'the directory'
      const row = `[routes] ${text} = ${kind}`
      if (kind === 'accept' && state === 'found') {
        return [{ level: 'note', text: `${row}: ${which} has this address too, but is not asked` }]
      }
      if (kind === 'refuse' && state === 'absent') {
        const why = `${which} does not have the address`
        return [{ level: 'warning', text: `${row} makes no difference: ${why}` }]
      }
      return []
    })
    return (await Promise.all(findings)).flat()
  } finally {
    await lists.close()
  }
}

interface AddressRow {
  readonly recipient: Recipient
  readonly text: string
  readonly kind: 'accept' | 'refuse'
}

function besideDirectory(routing: ListenerPolicy['routing']): readonly AddressRow[] {
  return routing.routes.rows.flatMap(({ sentTo, routeTo: { kind }, text }) => {
    if (sentTo.match !== 'address' || (kind !== 'accept' && kind !== 'refuse')) return []
    const beside = withoutRow(routing, recipientNamed(sentTo.local, sentTo.domain), kind)
    if (KINDS[beside.kind].lookUp !== 'required') return []
    return [{ recipient: beside.recipient, text, kind }]
  })
}

/** As whom the recipient would be looked up, if its row were not there. */
function withoutRow(
  routing: ListenerPolicy['routing'],
  recipient: Recipient,
  kind: AddressRow['kind'],
): Pick<Destination, 'recipient' | 'kind'> {
  // It passes over refuse rows.
  if (kind === 'refuse') return destinationOf(routing, recipient)
  const route = domainRoute(routing, recipient.domain)
  const { to = recipient.domain } = route.rerouted ?? {}
  return { recipient: atDomain(recipient, to), kind: route.kind }
}

export async function nextHopFindings(
  config: Haraka.Config,
  settings: Settings,
): Promise<Finding[]> {
  const [policy] = settings.policies.values()
  const rows = policy?.routing.routes.rows ?? []
  const hosts = [...(policy?.routing.mailboxHosts.values() ?? [])]
  const named = [...rows.map(({ routeTo }) => hopsOf(routeTo)), ...hosts.map(({ hops }) => hops)]
  const hops = new Map<string, NextHop>(named.flat().map((hop) => [hop.text, hop]))
  const own = ownHost(config)
  const addresses = new HostAddresses()
  return Promise.all(
    Array.from(hops.values(), async (hop): Promise<Finding> => {
      const { text, host } = hop
      try {
        const all = await addresses.of(host)
        for (const address of all) {
          const listener = ownListener(own, { ...hop, host: address })
          if (!listener) continue
          return {
            level: 'problem',
            text: `${text} is this Haraka itself (${address}, ${listener})`,
          }
        }
        return { level: 'ok', text: all[0] === host ? text : `${text} is ${all.join(', ')}` }
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        return { level: 'problem', text: `${text}: no address found: ${reason}` }
      }
    }),
  )
}

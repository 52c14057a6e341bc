// Recipient and client to verdict, with the address list asked where the rules want it.

import { hostOf } from '../haraka/internals'
import {
  type Client,
  type Destination,
  decide,
  decideListed,
  destined,
  INTERNAL_ERROR,
  type Listing,
  type Route,
  type RoutingPolicy,
  routeOf,
  type Verdict,
} from '../routing/decide'
import { canonicalDomain, recipientAt } from '../routing/recipient'
import type { ListenerPolicy } from '../settings/settings'
import { state } from './state'

/** A recipient with what is answered to it. */
export interface Decided {
  readonly target: Haraka.Address
  readonly destination: Destination
  readonly verdict: Verdict
}

/** At once where the directory need not be asked. */
export function decideOnAll(
  policy: ListenerPolicy,
  client: Client,
  targets: readonly Haraka.Address[],
): readonly Decided[] | Promise<readonly Decided[]> {
  const [target] = targets
  if (targets.length > 1 || !target) {
    return Promise.all(targets.map((target) => decideOn(policy, client, target)))
  }
  const decided = decideOn(policy, client, target)
  return decided instanceof Promise ? decided.then((one) => [one]) : [decided]
}

export function decideOn(
  { routing }: ListenerPolicy,
  client: Client,
  target: Haraka.Address,
): Decided | Promise<Decided> {
  const destination = destinationFor(routing, target)
  const verdict = decide(routing, destination, client)
  if (verdict) return { target, destination, verdict }
  const { list } = state
  if (!list) throw new Error('no address list')
  const listing = list.lookup(destination.recipient)
  return listing instanceof Promise
    ? decideLater(client, target, destination, listing)
    : { target, destination, verdict: decideListed(destination, client, listing) }
}

interface Routed {
  readonly routing: RoutingPolicy
  /** As Haraka gives it. */
  readonly host: string
  readonly domain: string
  readonly route: Route
}

// Recipients that come one after the other mostly have the same domain.
let last: Routed | undefined

function destinationFor(routing: RoutingPolicy, address: Haraka.Address): Destination {
  const host = hostOf(address)
  if (last?.routing !== routing || last.host !== host) last = routed(routing, host)
  return destined(recipientAt(address.user, last.domain), last.route)
}

function routed(routing: RoutingPolicy, host: string): Routed {
  const domain = canonicalDomain(host)
  return { routing, host, domain, route: routeOf(routing, domain) }
}

async function decideLater(
  client: Client,
  target: Haraka.Address,
  destination: Destination,
  listing: Promise<Listing>,
): Promise<Decided> {
  return { target, destination, verdict: decideListed(destination, client, await listing) }
}

/** Whom an alias stands for are accepted together or not at all. */
export function verdictOn(decided: readonly Decided[]): Verdict {
  const one = decided.find(({ verdict }) => !verdict.accept) ?? decided[0]
  return one?.verdict ?? INTERNAL_ERROR
}

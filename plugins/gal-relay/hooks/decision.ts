// Recipient and client to verdict, with the address list asked where the rules want it.

import { hostOf } from '../haraka/internals'
import {
  type Client,
  concernsRelaying,
  type Destination,
  type DomainRoute,
  decide,
  decideListed,
  decideUnasked,
  destinationOf,
  domainRoute,
  INTERNAL_ERROR,
  type Listing,
  type RoutingPolicy,
  type Verdict,
} from '../routing/decide'
import { canonicalDomain, recipientAt } from '../routing/recipient'
import { decidesRecipients, decidesRelaying } from '../settings/enforcement'
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

/**
 * Whether the plugin answers to this RCPT. With `enforce = relaying` it does where relaying comes into it
 * for anyone that the recipient stands for.
 */
export function answersTo(policy: ListenerPolicy, targets: readonly Haraka.Address[]): boolean {
  if (decidesRecipients(policy)) return true
  return (
    decidesRelaying(policy) &&
    targets.some((target) => concernsRelaying(destinationFor(policy.routing, target)))
  )
}

/** Where recipients of ours are accepted without a look-up. */
export async function decideUnaskedOn(
  { routing }: ListenerPolicy,
  client: Client,
  target: Haraka.Address,
): Promise<Decided> {
  const destination = destinationFor(routing, target)
  const verdict = decideUnasked(routing, destination, client)
  if (verdict) return { target, destination, verdict }
  const listing = await lookUp(destination)
  // Who may write to a recipient is only observed.
  const found = listing.state === 'found' ? { ...listing, authenticatedOnly: false } : listing
  return { target, destination, verdict: decideListed(destination, client, found) }
}

function lookUp({ recipient }: Destination): Listing | Promise<Listing> {
  const { list } = state
  if (!list) throw new Error('no address list')
  return list.lookup(recipient)
}

export function decideOn(
  { routing }: ListenerPolicy,
  client: Client,
  target: Haraka.Address,
): Decided | Promise<Decided> {
  const destination = destinationFor(routing, target)
  const verdict = decide(routing, destination, client)
  if (verdict) return { target, destination, verdict }
  const listing = lookUp(destination)
  return listing instanceof Promise
    ? decideLater(client, target, destination, listing)
    : { target, destination, verdict: decideListed(destination, client, listing) }
}

interface Routed {
  readonly routing: RoutingPolicy
  /** As Haraka gives it. */
  readonly host: string
  readonly domain: string
  readonly route: DomainRoute
}

// Recipients that come one after the other mostly have the same domain.
let last: Routed | undefined

function destinationFor(routing: RoutingPolicy, address: Haraka.Address): Destination {
  const host = hostOf(address)
  if (last?.routing !== routing || last.host !== host) last = routed(routing, host)
  return destinationOf(routing, recipientAt(address.user, last.domain), last.route)
}

function routed(routing: RoutingPolicy, host: string): Routed {
  const domain = canonicalDomain(host)
  return { routing, host, domain, route: domainRoute(routing, domain) }
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

// The answer table: recipient × route × trust (× what the directory says) → one verdict.
// Pure; when the answer depends on the directory it says so, and the listing is taken to a second one.
// A verdict carries the name of the rule that made it, so that the reply, the log, the metrics and
// the tests all speak of the same thing.
import { hasLocalPart, type LocalParts } from './local-parts'
import { type Mailbox, type MailboxHosts, placeOf } from './mailbox'
import { atDomain, type Recipient } from './recipient'
import type { Trust, TrustRule } from './restrictions'
import { findRow, type NextHop, type RouteTable, type RouteTo } from './routes'

/** What of a listener's settings the answers depend on. */
export interface RoutingPolicy {
  /** false: rows other than `inbound` do not exist, their domains are foreign (Q237927). */
  readonly reroute: boolean
  readonly routes: RouteTable
  /** Inbound, exact, unless a row matches: Haraka's config/host_list. A-labels. */
  readonly hostList: ReadonlySet<string>
  /** An address found in the GAL is ours whatever its domain (Q237927). */
  readonly anyDomain: boolean
  /** Local parts that are accepted at inbound domains unasked (RFC 5321 §4.5.1). */
  readonly alwaysAccept: LocalParts
  /** What the directory's host values mean. */
  readonly mailboxHosts: MailboxHosts
  /** The next hop is one of our own listeners. */
  readonly isOwn: (hop: NextHop) => boolean
}

/** What the directory says of an address. */
export type Listing =
  | {
      readonly state: 'found'
      readonly authenticatedOnly: boolean
      /** Where its mail goes, if the directory says so. */
      readonly mailbox?: Mailbox
    }
  | { readonly state: 'absent' }
  | { readonly state: 'unavailable' }

export interface Client {
  readonly trust: Trust
  readonly authenticated: boolean
}

export type RouteKind = RouteTo['kind'] | 'foreign'

/** The route that a domain's mail takes, `reroute` rows followed. */
export interface Route {
  readonly kind: Exclude<RouteKind, 'reroute'>
  readonly hops: readonly NextHop[]
  /** The row's left side; undefined when none matched. */
  readonly row: string | undefined
  /** The row that renamed the domain, if one did, and the new name (Q190710). */
  readonly rerouted: { readonly row: string; readonly to: string } | undefined
}

/** A recipient with the route its domain takes. */
export interface Destination extends Omit<Route, 'rerouted'> {
  /** As it is looked up and delivered. */
  readonly recipient: Recipient
  /** The row that renamed the domain, if one did. */
  readonly rerouted: string | undefined
}

export interface Reply {
  readonly code: number
  /** RFC 3463, without the class: `[7, 1]` is x.7.1. */
  readonly status: readonly [subject: number, detail: number]
  readonly text: string
}

export type Rule =
  | 'postmaster'
  | 'always-accept'
  | 'in-gal'
  | 'not-looked-up'
  | 'authenticated-only'
  | 'not-in-gal'
  | 'routes-onward'
  | 'directory-unavailable'
  | 'misrouted'
  | 'shared'
  | 'always-relay'
  | `relay-${TrustRule}`
  | `no-relay-${TrustRule}`
  | 'no-recipient'
  | 'mixed'
  | 'too-many-by-lmtp'
  | 'internal-error'

/** `queue`: the install's queue plugins. `outbound`: Haraka's outbound queue. */
export type Path = 'queue' | 'outbound'

export interface Accepted {
  readonly accept: true
  readonly rule: Rule
  readonly path: Path
  /** Where the outbound queue hands it to, tried in order; none: the domain's MX hosts. */
  readonly hops: readonly NextHop[]
  /** The address by which the mailbox's system knows it; left out: as it was sent. */
  readonly leavesAs?: Recipient
}

export interface Refused {
  readonly accept: false
  readonly rule: Rule
  readonly reply: Reply
}

export type Verdict = Accepted | Refused

const NO_HOPS: readonly NextHop[] = Object.freeze([])

const PROHIBITED: Reply = { code: 550, status: [7, 1], text: 'Relaying is prohibited' }
const UNKNOWN: Reply = { code: 550, status: [1, 1], text: 'Recipient unknown' }
const NOBODY: Reply = { code: 550, status: [1, 3], text: 'There is no recipient <>' }
const AUTHENTICATED_ONLY: Reply = {
  code: 550,
  status: [7, 1],
  text: 'This recipient takes mail from authenticated senders only',
}
const UNAVAILABLE: Reply = {
  code: 451,
  status: [4, 3],
  text: 'The directory cannot be asked at the moment, please try again later',
}
const MISROUTED: Reply = {
  code: 451,
  status: [3, 5],
  text: 'The directory does not say clearly where this mail goes, please try again later',
}
const MIXED: Reply = {
  code: 452,
  status: [5, 3],
  text: 'This recipient needs a transaction of its own, please send it again',
}
const TOO_MANY: Reply = {
  code: 452,
  status: [5, 3],
  text: 'Too many recipients in one message, please send it again for the others',
}
const INTERNAL: Reply = {
  code: 451,
  status: [3, 0],
  text: 'Local error in processing, please try again later',
}

const refuse = (rule: Rule, reply: Reply): Refused => Object.freeze({ accept: false, rule, reply })
const accept = (rule: Rule, path: Path, hops = NO_HOPS): Accepted => ({
  accept: true,
  rule,
  path,
  hops,
})

const POSTMASTER = Object.freeze(accept('postmaster', 'queue'))
const IN_GAL = Object.freeze(accept('in-gal', 'queue'))
const NOT_IN_GAL = refuse('not-in-gal', UNKNOWN)
const ROUTES_ONWARD = refuse('routes-onward', PROHIBITED)
const NO_RECIPIENT = refuse('no-recipient', NOBODY)
const NEEDS_AUTHENTICATION = refuse('authenticated-only', AUTHENTICATED_ONLY)
const MISROUTED_DEFERRED = refuse('misrouted', MISROUTED)
const DIRECTORY_UNAVAILABLE = refuse('directory-unavailable', UNAVAILABLE)

/** The second kind of recipient in one transaction under `mixed = defer` (RFC 5321 §4.5.3.1.10). */
export const MIXED_DEFERRED = refuse('mixed', MIXED)
/** More recipients in one transaction than LMTP hops take (RFC 5321 §4.5.3.1.10). */
export const TOO_MANY_BY_LMTP = refuse('too-many-by-lmtp', TOO_MANY)
/** What is answered when the plugin itself fails: never a 250, never a 550. */
export const INTERNAL_ERROR = refuse('internal-error', INTERNAL)

/** Which route the recipient takes. */
export function destinationOf(policy: RoutingPolicy, recipient: Recipient): Destination {
  return destined(recipient, routeOf(policy, recipient.domain))
}

/** @param route of the recipient's domain */
export function destined(recipient: Recipient, route: Route): Destination {
  const { kind, hops, row, rerouted } = route
  if (!rerouted) return { recipient, kind, hops, row, rerouted }
  const renamed = atDomain(recipient, rerouted.to)
  return { recipient: renamed, kind, hops, row, rerouted: rerouted.row }
}

/**
 * Which route the domain takes. At most one `reroute` step: settings allow no chains.
 *
 * @param domain in the form that compares
 */
export function routeOf(policy: RoutingPolicy, domain: string): Route {
  const row = findRow(policy.routes, domain)
  if (policy.reroute && row?.routeTo.kind === 'reroute') {
    const to = row.routeTo.domain
    return { ...routeOf(policy, to), rerouted: { row: row.text, to } }
  }
  const routeTo = row ? row.routeTo : undefined
  const exists = routeTo && (policy.reroute || routeTo.kind === 'inbound')
  if (routeTo && routeTo.kind !== 'reroute' && exists) {
    return { kind: routeTo.kind, hops: routeTo.hops, row: row?.text, rerouted: undefined }
  }
  const inbound = !row && policy.hostList.has(domain)
  return {
    kind: inbound ? 'inbound' : 'foreign',
    hops: NO_HOPS,
    row: inbound ? 'host_list' : row?.text,
    rerouted: undefined,
  }
}

/**
 * The answer at RCPT TO, where it does not depend on the directory.
 *
 * @returns undefined when it does: ask for `destination.recipient`, then {@link decideListed}
 */
export function decide(
  policy: RoutingPolicy,
  destination: Destination,
  client: Client,
): Verdict | undefined {
  const { recipient, kind, hops } = destination
  if (recipient.domain === '' && recipient.plainLocal.toLowerCase() === 'postmaster')
    return POSTMASTER
  switch (kind) {
    case 'inbound':
      if (!hasLocalPart(policy.alwaysAccept, recipient.plainLocal)) return undefined
      return delivered('always-accept', hops)
    case 'shared':
      return undefined
    case 'always-relay':
      return passedOn('always-relay', destination, client)
    case 'forward':
    case 'foreign':
      return policy.anyDomain ? undefined : relayed(destination, client)
  }
}

/** Accepted because the client may relay. */
export const isRelayed = ({ rule }: Accepted) => rule.startsWith('relay-')

/**
 * Whether relaying comes into the answer: the recipient is not ours, or its local part tries to route
 * onward.
 */
export function concernsRelaying({ recipient, kind }: Destination): boolean {
  return kind === 'foreign' || kind === 'forward' || recipient.routesOnward
}

/**
 * The answer at RCPT TO where recipients of ours are accepted without a look-up: what the directory says
 * is only observed, and no other plugin accepts any. A shared domain's take one way if they are listed
 * and another if they are not, and what concerns relaying is no less refused.
 *
 * @returns undefined when it depends on the directory, as {@link decide}
 */
export function decideUnasked(
  policy: RoutingPolicy,
  destination: Destination,
  client: Client,
): Verdict | undefined {
  const verdict = decide(policy, destination, client)
  if (verdict || destination.kind !== 'inbound' || concernsRelaying(destination)) return verdict
  return delivered('not-looked-up', destination.hops)
}

/**
 * The answer at RCPT TO, where {@link decide} left it to the directory.
 *
 * @param listing what the directory says of `destination.recipient`
 */
export function decideListed(
  policy: RoutingPolicy,
  destination: Destination,
  client: Client,
  listing: Listing,
): Verdict {
  const { recipient, kind, hops } = destination
  if (listing.state !== 'absent') {
    const verdict = ours(listing, client, kind === 'inbound' ? hops : NO_HOPS)
    const isRouted = verdict.accept && listing.state === 'found' && listing.mailbox
    return isRouted && isOurs(kind) ? routed(policy, verdict, listing.mailbox) : verdict
  }
  if (kind === 'inbound') return recipient.routesOnward ? ROUTES_ONWARD : NOT_IN_GAL
  return kind === 'shared' ? passedOn('shared', destination, client) : relayed(destination, client)
}

function ours(
  listing: Exclude<Listing, { state: 'absent' }>,
  client: Client,
  hops: readonly NextHop[],
): Verdict {
  if (listing.state === 'unavailable') return DIRECTORY_UNAVAILABLE
  if (listing.authenticatedOnly && !client.authenticated && !client.trust.mayRelay) {
    return NEEDS_AUTHENTICATION
  }
  return delivered('in-gal', hops)
}

/** Recipients of other systems are not routed by our directory. */
const isOurs = (kind: Route['kind']) => kind === 'inbound' || kind === 'shared'

function routed(policy: RoutingPolicy, { rule, hops }: Accepted, mailbox: Mailbox): Verdict {
  const route = routeOfMailbox(policy, mailbox, hops)
  return 'problem' in route ? MISROUTED_DEFERRED : { accept: true, rule, ...route }
}

/**
 * Which way a recipient's mail takes, where its entry says so (sendmail's ldap_routing has the same table).
 *
 * @param hops of the recipient's own row
 * @returns the way, or why there is none
 */
export function routeOfMailbox(
  policy: RoutingPolicy,
  mailbox: Mailbox,
  hops: readonly NextHop[],
): Pick<Accepted, 'path' | 'hops' | 'leavesAs'> | { readonly problem: string } {
  const place = placeOf(mailbox, policy.mailboxHosts, policy.isOwn)
  if ('problem' in place) return place
  const { leavesAs } = place
  if (!leavesAs) return wayTo(place.hops ?? hops)
  if (place.hops) return { ...wayTo(place.hops), leavesAs }
  // It is followed one step: not looked up again.
  const other = destinationOf(policy, leavesAs)
  const isQueued = other.kind === 'inbound' && other.hops.length === 0
  return {
    path: isQueued ? 'queue' : 'outbound',
    hops: other.hops,
    leavesAs: other.recipient,
  }
}

const wayTo = (hops: readonly NextHop[]) =>
  ({ path: hops.length > 0 ? 'outbound' : 'queue', hops }) as const

function delivered(rule: Rule, hops: readonly NextHop[]): Verdict {
  if (hops.length > 0) return accept(rule, 'outbound', hops)
  return rule === 'in-gal' ? IN_GAL : accept(rule, 'queue')
}

// Accepted from anyone, unless the next system might be made to relay (Q304897).
function passedOn(rule: Rule, { recipient, hops }: Destination, { trust }: Client): Verdict {
  if (recipient.routesOnward && !trust.mayRelay) return ROUTES_ONWARD
  return accept(rule, 'outbound', hops)
}

function relayed({ recipient, hops }: Destination, { trust }: Client): Verdict {
  if (!trust.mayRelay) return refuse(`no-relay-${trust.rule}`, PROHIBITED)
  if (recipient.domain === '') return NO_RECIPIENT
  return accept(`relay-${trust.rule}`, 'outbound', hops)
}

// The answer table: recipient × route × trust (× what the directory says) → one verdict.
// All functions are pure. `decide` says if the answer depends on the directory; `decideListed` then takes
// the directory's listing. The kinds of route are defined in kinds.ts, the replies of the rules in rules.ts.
import { counts, isOurs, KINDS, type Path, type RouteKind } from './kinds'
import { hasLocalPart, type LocalParts } from './local-parts'
import { type Mailbox, type MailboxHosts, placeOf } from './mailbox'
import { atDomain, type Recipient } from './recipient'
import type { Trust } from './restrictions'
import {
  type AddressRows,
  findAddressRow,
  findRow,
  type NextHop,
  type RouteTable,
  type Row,
} from './routes'
import { type AcceptingRule, type RefusingRule, type Reply, RULES } from './rules'

export type { Path } from './kinds'
export type { Reply, Rule } from './rules'

/** The listener settings that the answers depend on. */
export interface RoutingPolicy {
  /** false: only `inbound`, `accept` and `refuse` rows count; the domains of others are foreign (Q237927). */
  readonly reroute: boolean
  readonly routes: RouteTable
  /** Haraka's config/host_list, A-labels: exactly these domains are inbound, unless a row matches. */
  readonly hostList: ReadonlySet<string>
  /** Whether an address found in the GAL is ours whatever its domain (Q237927). */
  readonly anyDomain: boolean
  /** Local parts that are accepted at inbound domains without a look-up (RFC 5321 §4.5.1). */
  readonly alwaysAccept: LocalParts
  /** The characters that begin a sub-address at a domain (RFC 5233); '' for none. */
  readonly delimitersFor: (domain: string) => string
  /** What the directory's host values mean. */
  readonly mailboxHosts: MailboxHosts
  /** Whether the next hop is one of our own listeners. */
  readonly isOwn: (hop: NextHop) => boolean
}

/** What the directory says about an address. */
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

/** What the rows say about a domain: the same for all recipients that have no row of their own. */
export interface DomainRoute {
  readonly kind: RouteKind
  readonly hops: readonly NextHop[]
  /** The row's left side; undefined if none matched. */
  readonly row: string | undefined
  /** The row that renames the domain, if one does, and the new name (Q190710). */
  readonly rerouted: { readonly row: string; readonly to: string } | undefined
  /** Rows for single addresses at the domain. */
  readonly addresses: AddressRows | undefined
}

/** A recipient with the route it takes. */
export interface Destination {
  /** The recipient as it is looked up and delivered. */
  readonly recipient: Recipient
  readonly kind: RouteKind
  readonly hops: readonly NextHop[]
  /** The row's left side; undefined if none matched. */
  readonly row: string | undefined
  /** The row that turned it into another recipient, if one did. */
  readonly rerouted: string | undefined
  /** The `refuse` row for it, if there is one. */
  readonly refused: string | undefined
}

export interface Accepted {
  readonly accept: true
  readonly rule: AcceptingRule
  readonly path: Path
  /** Where the outbound queue sends it, tried in order; if empty, to the domain's MX hosts. */
  readonly hops: readonly NextHop[]
  /** The address by which the mailbox's system knows it; if omitted, the address as sent. */
  readonly leavesAs?: Recipient
  /** The kind of route of that address; if omitted, the recipient's own kind applies. */
  readonly kind?: RouteKind
  /** The directory names the server, so no row applies. */
  readonly byHost?: true
}

/** The way that a recipient's mail takes. */
export type Way = Pick<Accepted, 'path' | 'hops' | 'leavesAs' | 'kind' | 'byHost'>

export interface Refused {
  readonly accept: false
  readonly rule: RefusingRule
  readonly reply: Reply
  /** What is wrong, for the log; never holds a password. */
  readonly problem?: string
}

export type Verdict = Accepted | Refused

const NO_HOPS: readonly NextHop[] = Object.freeze([])

const refuse = (rule: RefusingRule): Refused =>
  Object.freeze({ accept: false, rule, reply: RULES[rule].reply })
const accept = (rule: AcceptingRule, path: Path, hops = NO_HOPS): Accepted => ({
  accept: true,
  rule,
  path,
  hops,
})

const POSTMASTER = Object.freeze(accept('postmaster', 'queue'))
const IN_GAL: Accepted = Object.freeze(accept('in-gal', 'queue'))
const NOT_IN_GAL = refuse('not-in-gal')
const REFUSED_BY_ROW = refuse('refuse')
const ROUTES_ONWARD = refuse('routes-onward')
const NO_RECIPIENT = refuse('no-recipient')
const NEEDS_AUTHENTICATION = refuse('authenticated-only')
const DIRECTORY_UNAVAILABLE = refuse('directory-unavailable')
const MISROUTED = refuse('misrouted')

/** For the second kind of recipient in one transaction under `mixed = defer` (RFC 5321 §4.5.3.1.10). */
export const MIXED_DEFERRED = refuse('mixed')
/** For recipients beyond those that LMTP hops take in one transaction (RFC 5321 §4.5.3.1.10). */
export const TOO_MANY_BY_LMTP = refuse('too-many-by-lmtp')
/** For every recipient that a held-off client names; nothing is looked up for it. */
export const HELD_OFF = refuse('held-off')
/** The answer when the plugin itself fails: never a 250, never a 550. */
export const INTERNAL_ERROR = refuse('internal-error')

/**
 * Follows at most one `reroute` step: the settings allow no chains.
 *
 * @param route the route of the recipient's domain, if it is already known
 * @returns the recipient with the route that it takes
 */
export function destinationOf(
  policy: RoutingPolicy,
  recipient: Recipient,
  route: DomainRoute = domainRoute(policy, recipient.domain),
): Destination {
  const { own, refused } = addressRows(policy, route.addresses, recipient)
  if (own?.routeTo.kind === 'reroute') {
    const { domain, mailbox = atDomain(recipient, domain) } = own.routeTo
    const other = rerouted(policy, mailbox)
    return { ...other, rerouted: own.text, refused: refused ?? other.refused }
  }
  if (!own && route.rerouted) {
    const renamed = rerouted(policy, atDomain(recipient, route.rerouted.to))
    return { ...renamed, rerouted: route.rerouted.row, refused: refused ?? renamed.refused }
  }
  return routed(recipient, ownRoute(own) ?? route, refused)
}

type TakenRoute = Pick<DomainRoute, 'kind' | 'hops' | 'row'>

const NO_ROUTE: TakenRoute = { kind: 'foreign', hops: NO_HOPS, row: undefined }

/** The route that a row for the address gives; undefined if there is none, or it leads to another recipient. */
const ownRoute = (own: Row | undefined): TakenRoute | undefined =>
  own && 'hops' in own.routeTo ? { ...own.routeTo, row: own.text } : undefined

/** @param recipient the recipient that a `reroute` row leads to */
function rerouted(policy: RoutingPolicy, recipient: Recipient): Destination {
  const route = domainRoute(policy, recipient.domain)
  const { own, refused } = addressRows(policy, route.addresses, recipient)
  // One step only (Q190710): a sub-address meets a second row where the other domain lacks its delimiter.
  return routed(recipient, ownRoute(own) ?? (route.rerouted ? NO_ROUTE : route), refused)
}

function routed(
  recipient: Recipient,
  { kind, hops, row }: TakenRoute,
  refused: string | undefined,
): Destination {
  return { recipient, kind, hops, row, rerouted: undefined, refused }
}

/**
 * The row that currently says where a recipient's mail goes; `refuse` rows are skipped.
 *
 * @returns undefined if there is none, or it does not count
 */
export function rowFor(policy: RoutingPolicy, recipient: Recipient): Row | undefined {
  const { own } = addressRows(policy, policy.routes.addresses.get(recipient.domain), recipient)
  if (own) return own
  const row = findRow(policy.routes, recipient.domain)
  return row && counts(row.routeTo.kind, policy) ? row : undefined
}

interface OwnRows {
  /** The row for the address; `refuse` rows are skipped. */
  readonly own?: Row | undefined
  /** The `refuse` row that comes before it. */
  readonly refused?: string | undefined
}

const NO_ROWS: OwnRows = Object.freeze({})

/** @param rows the address rows of the recipient's domain */
function addressRows(
  policy: RoutingPolicy,
  rows: AddressRows | undefined,
  recipient: Recipient,
): OwnRows {
  if (!rows) return NO_ROWS
  const delimiters = policy.delimitersFor(recipient.domain)
  const find = (isMeant: (row: Row) => boolean) =>
    findAddressRow(
      rows,
      recipient,
      delimiters,
      (row) => counts(row.routeTo.kind, policy) && isMeant(row),
    )
  const first = find(() => true)
  if (first?.routeTo.kind !== 'refuse') return { own: first }
  // For clients that it does not apply to, the row does not exist; that of the base address may be next.
  return { own: find(({ routeTo }) => routeTo.kind !== 'refuse'), refused: first.text }
}

/**
 * The route that the domain takes, after its `reroute` row if it has one.
 *
 * @param domain in canonical form
 */
export function domainRoute(policy: RoutingPolicy, domain: string): DomainRoute {
  const { routes, hostList } = policy
  const addresses = routes.addresses.get(domain)
  const row = findRow(routes, domain)
  const routeTo = row && counts(row.routeTo.kind, policy) ? row.routeTo : undefined
  if (row && routeTo?.kind === 'reroute') {
    const to = routeTo.domain
    return { ...domainRoute(policy, to), addresses, rerouted: { row: row.text, to } }
  }
  if (row && routeTo && 'hops' in routeTo) {
    const { kind, hops } = routeTo
    return { kind, hops, row: row.text, rerouted: undefined, addresses }
  }
  const inbound = !row && hostList.has(domain)
  return {
    kind: inbound ? 'inbound' : 'foreign',
    hops: NO_HOPS,
    row: inbound ? 'host_list' : row?.text,
    rerouted: undefined,
    addresses,
  }
}

/**
 * The answer at RCPT TO, if it does not depend on the directory.
 *
 * @returns undefined if it does: look up `destination.recipient`, then call {@link decideListed}
 */
export function decide(
  policy: RoutingPolicy,
  destination: Destination,
  client: Client,
): Verdict | undefined {
  const { recipient, kind, hops, refused } = destination
  if (recipient.domain === '' && recipient.plainLocal.toLowerCase() === 'postmaster')
    return POSTMASTER
  const { lookUp } = KINDS[kind]
  if (lookUp === 'required' && hasLocalPart(policy.alwaysAccept, recipient.plainLocal)) {
    return delivered('always-accept', kind, hops)
  }
  if (refused !== undefined && isStranger(client)) return REFUSED_BY_ROW
  switch (lookUp) {
    case 'required':
    case 'first':
      return undefined
    case 'any-domain':
      return policy.anyDomain ? undefined : unlisted(destination, client)
    case 'never':
      return unlisted(destination, client)
  }
}

const isStranger = ({ authenticated, trust }: Client) => !authenticated && !trust.mayRelay

/** Whether the recipient is accepted only because the client may relay. */
export const isRelayed = ({ rule }: Accepted) => RULES[rule].accepts === 'relayed'

/**
 * Whether the answer involves relaying: the recipient is not ours, or its local part tries to route
 * onward.
 */
export function concernsRelaying({ recipient, kind }: Destination): boolean {
  return KINDS[kind].senders === 'who-may-relay' || recipient.routesOnward
}

/**
 * The answer at RCPT TO if our recipients are accepted without a look-up: what the directory says is only
 * observed, and no other plugin accepts them. Recipients at a shared domain are still looked up, because
 * listed and unlisted ones go different ways; relaying is still refused.
 *
 * @returns undefined if it depends on the directory, as with {@link decide}
 */
export function decideUnasked(
  policy: RoutingPolicy,
  destination: Destination,
  client: Client,
): Verdict | undefined {
  // `refuse` rows are only observed as well.
  const verdict = decide(policy, { ...destination, refused: undefined }, client)
  const { kind, hops } = destination
  const isLookedUp = KINDS[kind].lookUp === 'required' && !concernsRelaying(destination)
  return verdict || !isLookedUp ? verdict : delivered('not-looked-up', kind, hops)
}

/**
 * The answer at RCPT TO, if {@link decide} left it to the directory.
 *
 * @param listing what the directory says about `destination.recipient`
 */
export function decideListed(
  policy: RoutingPolicy,
  destination: Destination,
  client: Client,
  listing: Listing,
): Verdict {
  const { kind, hops } = destination
  switch (listing.state) {
    case 'unavailable':
      return DIRECTORY_UNAVAILABLE
    case 'absent':
      return unlisted(destination, client)
    case 'found': {
      if (listing.authenticatedOnly && isStranger(client)) return NEEDS_AUTHENTICATION
      // The next hops of all other kinds are for recipients that are not in the directory.
      const verdict = KINDS[kind].path === 'queue' ? delivered('in-gal', kind, hops) : IN_GAL
      const { mailbox } = listing
      // Recipients of other systems are not routed by our directory.
      return mailbox && isOurs(kind) ? toMailbox(policy, verdict, mailbox) : verdict
    }
  }
}

function toMailbox(policy: RoutingPolicy, verdict: Accepted, mailbox: Mailbox): Verdict {
  const { rule, hops } = verdict
  const route = routeOfMailbox(policy, mailbox, hops)
  return 'problem' in route ? { ...MISROUTED, ...route } : { accept: true, rule, ...route }
}

/**
 * The way that a recipient's mail takes if its entry names one (sendmail's ldap_routing has the same table).
 *
 * @param hops the next hops of the recipient's own row
 * @returns the way, or why there is none
 */
export function routeOfMailbox(
  policy: RoutingPolicy,
  mailbox: Mailbox,
  hops: readonly NextHop[],
): Way | { readonly problem: string } {
  const place = placeOf(mailbox, policy.mailboxHosts, policy.isOwn)
  if ('problem' in place) return place
  const { leavesAs } = place
  if (!leavesAs) return place.hops ? { ...wayTo(place.hops), byHost: true } : wayTo(hops)
  const other = destinationOf(policy, leavesAs)
  const { kind } = other
  if (place.hops) return { ...wayTo(place.hops), byHost: true, leavesAs, kind }
  // Only one step is followed: the new address is not looked up again.
  const isQueued = KINDS[kind].path === 'queue' && other.hops.length === 0
  const path = isQueued ? 'queue' : 'outbound'
  return { path, hops: other.hops, leavesAs: other.recipient, kind }
}

const wayTo = (hops: readonly NextHop[]) =>
  ({ path: hops.length > 0 ? 'outbound' : 'queue', hops }) as const

// The verdict on a recipient that is not in the directory, or need not be.
function unlisted(destination: Destination, client: Client): Verdict {
  const { recipient, kind, hops } = destination
  const { lookUp, senders, rule } = KINDS[kind]
  if (senders === 'who-may-relay') return relayed(destination, client)
  // Such a local part might make the next system relay (Q304897).
  const isAttempt = recipient.routesOnward && (lookUp === 'required' || !client.trust.mayRelay)
  if (isAttempt) return ROUTES_ONWARD
  return rule ? delivered(rule, kind, hops) : NOT_IN_GAL
}

function delivered(rule: AcceptingRule, kind: RouteKind, hops: readonly NextHop[]): Accepted {
  if (KINDS[kind].path !== 'queue' || hops.length > 0) return accept(rule, 'outbound', hops)
  return rule === 'in-gal' ? IN_GAL : accept(rule, 'queue')
}

function relayed({ recipient, hops }: Destination, { trust }: Client): Verdict {
  if (!trust.mayRelay) return refuse(`no-relay-${trust.rule}`)
  if (recipient.domain === '') return NO_RECIPIENT
  return accept(`relay-${trust.rule}`, 'outbound', hops)
}

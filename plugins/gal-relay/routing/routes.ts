// The routing table: rows "Sent to = Route to" (Q169683, Q217217, Q259531), and which of them applies to a
// recipient: the row for its address, else the exact row for its domain, else the row with the longest
// matching suffix on whole labels.
import { domainToASCII } from 'node:url'
import { didYouMean } from './did-you-mean'
import { KINDS, type ReferringKind, ROW_KINDS, type RowKind } from './kinds'
import {
  addressText,
  canonicalDomain,
  canonicalLiteral,
  folded,
  localKey,
  plainLocalPart,
  type Recipient,
  recipientAt,
  sentLocalPart,
  userNames,
} from './recipient'

/** A server that a route hands mail to. */
export interface NextHop {
  readonly protocol: 'smtp' | 'smtps' | 'lmtp'
  /** Host name, or IP address without brackets. */
  readonly host: string
  readonly port: number
  readonly user?: string
  readonly password?: string
  /** The URL without user and password, for logs. */
  readonly text: string
}

const NO_HOPS: readonly NextHop[] = Object.freeze([])

/** Whether any of them is an LMTP server, which answers for each recipient of a message. */
export const byLmtp = (hops: readonly NextHop[]): boolean =>
  hops.some(({ protocol }) => protocol === 'lmtp')

/** The right side of a row; `hops` are tried in order. */
export type RouteTo =
  | { readonly kind: Exclude<RowKind, ReferringKind>; readonly hops: readonly NextHop[] }
  /** To the mailbox, if the row names one; otherwise to the same local part at the domain. */
  | { readonly kind: 'reroute'; readonly domain: string; readonly mailbox?: Recipient }
  | { readonly kind: 'refuse' }

/** The row's next hops; empty if it names none. */
export const hopsOf = (routeTo: RouteTo): readonly NextHop[] =>
  'hops' in routeTo ? routeTo.hops : NO_HOPS

/** The right side of a row, without passwords. */
export function routeText(routeTo: RouteTo): string {
  if (routeTo.kind === 'reroute') {
    const { mailbox, domain } = routeTo
    return `reroute ${mailbox ? addressText(mailbox) : domain}`
  }
  return [routeTo.kind, ...hopsOf(routeTo).map(({ text }) => text)].join(' ')
}

/** The left side of a row; the domain is a lower-case A-label or a canonical address literal. */
export type SentTo =
  /** `exact`: only that domain or address literal; `suffix`: subdomains too. */
  | { readonly match: 'exact' | 'suffix'; readonly domain: string }
  /** One address; the local part is a {@link localKey}. */
  | { readonly match: 'address'; readonly domain: string; readonly local: string }

/** The pattern for only that domain or literal, as written left of the `=` and in `domains[]`. */
export const exactText = (domain: string) => (domain.startsWith('[') ? domain : `@${domain}`)

/** A domain pattern, as written in those places. */
export const domainText = ({ match, domain }: SentTo) =>
  match === 'exact' ? exactText(domain) : domain

export interface Row {
  readonly sentTo: SentTo
  readonly routeTo: RouteTo
  /** The left side, as written. */
  readonly text: string
}

/** The rows for addresses at one domain, by local part. */
export type AddressRows = ReadonlyMap<string, Row>

export interface RouteTable {
  readonly rows: readonly Row[]
  readonly exact: ReadonlyMap<string, Row>
  readonly suffix: ReadonlyMap<string, Row>
  /** Rows for single addresses, by their domain. */
  readonly addresses: ReadonlyMap<string, AddressRows>
}

export function routeTable(rows: readonly Row[]): RouteTable {
  const table = new RouteTableBuilder()
  for (const row of rows) table.add(row)
  return table
}

/** A table that grows row by row. */
export class RouteTableBuilder implements RouteTable {
  readonly rows: Row[] = []
  readonly exact = new Map<string, Row>()
  readonly suffix = new Map<string, Row>()
  readonly addresses = new Map<string, Map<string, Row>>()

  /** @returns the row that the table already has for that domain or address, if any; it stays in force */
  add(row: Row): Row | undefined {
    this.rows.push(row)
    const { sentTo } = row
    const [alike, key] =
      sentTo.match === 'address'
        ? ([this.#addressesAt(sentTo.domain), sentTo.local] as const)
        : ([this[sentTo.match], sentTo.domain] as const)
    const twin = alike.get(key)
    if (!twin) alike.set(key, row)
    return twin
  }

  #addressesAt(domain: string): Map<string, Row> {
    const rows = this.addresses.get(domain) ?? new Map<string, Row>()
    this.addresses.set(domain, rows)
    return rows
  }
}

/**
 * The row for this address as it was sent; only if there is none, the one for the mailbox that the
 * sub-address belongs to.
 *
 * @param rows the address rows of the recipient's domain
 * @param counts whether the row exists under the settings
 */
export function findAddressRow(
  rows: AddressRows,
  recipient: Recipient,
  delimiters: string,
  counts: (row: Row) => boolean,
): Row | undefined {
  const own = rows.get(localKey(recipient))
  if (own && counts(own)) return own
  // Removing anything from an address that routes onward would make it another address.
  if (recipient.routesOnward) return undefined
  for (const user of userNames(recipient.plainLocal, delimiters)) {
    const row = rows.get(folded(user))
    if (row && counts(row)) return row
  }
  return undefined
}

/**
 * @param domain lower-case A-label or canonical address literal
 * @see Q169683
 */
export function findRow(table: RouteTable, domain: string): Row | undefined {
  return table.exact.get(domain) ?? valueForSuffix(table.suffix, domain)
}

/** The value for the longest suffix of the domain, on whole labels; an address literal has none. */
export function valueForSuffix<T>(values: ReadonlyMap<string, T>, domain: string): T | undefined {
  if (domain.startsWith('[')) return undefined
  for (let rest = domain; ; rest = rest.slice(rest.indexOf('.') + 1)) {
    const value = values.get(rest)
    if (value !== undefined || !rest.includes('.')) return value
  }
}

/** @returns the domain in canonical form, or undefined if the text is not a domain name */
export function parseDomain(text: string): string | undefined {
  // domainToASCII would ignore what follows the host in a URL.
  if (/[/\\?#:]/.test(text)) return undefined
  const ascii = canonicalDomain(domainToASCII(text))
  const labels = ascii.split('.')
  const valid = labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
  // domainToASCII reads 1.2 and 0x7f as IPv4 addresses, as a browser does.
  const address = /^[\d.]+$/.test(ascii)
  return valid && !address && ascii.length <= 253 ? ascii : undefined
}

/** @returns the left side of a row, or what is wrong with it */
export function parseSentTo(text: string): SentTo | { readonly problem: string } {
  const literal = canonicalLiteral(text)
  if (literal) return { match: 'exact', domain: literal }
  if (text.startsWith('[')) return { problem: 'is not an IPv4 or IPv6 address literal' }
  if (text.lastIndexOf('@') > 0) return parseSentToAddress(text)
  const exact = text.startsWith('@')
  const name = exact ? text.slice(1) : text
  const domain = parseDomain(name)
  if (domain) return { match: exact ? 'exact' : 'suffix', domain }
  const bare = name.replace(/^[*.]+/, '').replace(/\.$/, '')
  if (bare !== name && parseDomain(bare)) {
    return { problem: `probably meant: ${bare} (it matches the subdomains too)` }
  }
  if (canonicalLiteral(`[${name}]`)) return { problem: `probably meant: [${name}]` }
  return { problem: 'is not a domain name' }
}

function parseSentToAddress(text: string): SentTo | { readonly problem: string } {
  const mailbox = parseMailbox(text)
  if ('problem' in mailbox) return mailbox
  return { match: 'address', domain: mailbox.domain, local: localKey(mailbox) }
}

/** @returns the one address, or what is wrong with it */
function parseMailbox(text: string): Recipient | { readonly problem: string } {
  const at = text.lastIndexOf('@')
  const [local, name] = [text.slice(0, at), text.slice(at + 1)]
  const domain = parseDomain(name) ?? canonicalLiteral(name)
  // The text may hold a password, so it is not repeated.
  if (!domain) return { problem: 'the part after the @ is not a domain name' }
  if (/^[*%]*$/.test(local)) return { problem: `probably meant: ${exactText(domain)}` }
  const isQuoted = plainLocalPart(local) !== local
  if (!isQuoted && sentLocalPart(local) !== local) {
    return { problem: 'the part before the @ is not the local part of an address' }
  }
  return recipientAt(local, domain)
}

/**
 * @param sentTo the row's left side
 * @returns the right side of a row, or what is wrong with it; never repeats a password
 */
export function parseRouteTo(
  text: string,
  sentTo?: SentTo,
): RouteTo | { readonly problem: string } {
  const words = (line: string) => line.split(/[\s,]+/).filter(Boolean)
  const all = words(text)
  // A word may be part of a password that contains a separator.
  if (words(redactUserinfo(text)).length < all.length) {
    return {
      problem: 'before an @ comes user:password, percent-encoded: %20 for a blank, %2C for a comma',
    }
  }
  const [word = '', ...rest] = all
  const kind = ROW_KINDS.find((name) => name === word.toLowerCase().replace(/_/g, '-'))
  if (!kind || (kind !== word.toLowerCase() && word.includes('_'))) {
    return { problem: kind ? `probably meant: ${kind}` : unknownKind(word) }
  }
  const isAddress = sentTo?.match === 'address'
  if (KINDS[kind].sentTo === 'address' && !isAddress) {
    return { problem: `'${kind}' is for one address: user@example.com = ${kind}` }
  }
  if (kind === 'reroute') return parseReroute(rest, isAddress)
  if (KINDS[kind].nextHops === 'none' && rest.length > 0) {
    return { problem: `'${kind}' takes no next hop` }
  }
  if (kind === 'refuse') return { kind }
  const hops: NextHop[] = []
  for (const url of rest) {
    const hop = parseNextHop(url)
    if ('problem' in hop) return hop
    hops.push(hop)
  }
  if (hops.length === 0 && KINDS[kind].nextHops === 'required') {
    return { problem: `'${kind}' needs a next hop: ${kind} smtp://host[:port]` }
  }
  return { kind, hops }
}

function unknownKind(word: string): string {
  const choices = `a route is one of ${ROW_KINDS.join(', ')}`
  if (word === '') return `is empty; ${choices}`
  if (/^(smtps?|lmtp):\/\//i.test(word)) {
    return `names a next hop but no route type; ${choices}, followed by the URL`
  }
  const meant = didYouMean(word, ROW_KINDS)
  return `'${shownHop(word)}': unknown route type; ${meant ? `probably meant: ${meant}` : choices}`
}

function parseReroute(words: readonly string[], isAddress: boolean): RouteTo | { problem: string } {
  const [target = '', ...more] = words
  if (!target || more.length > 0) {
    const what = isAddress
      ? 'one address or domain: reroute user@other.example'
      : 'one domain: reroute other.example'
    return { problem: `'reroute' takes ${what}` }
  }
  if (isAddress && target.lastIndexOf('@') > 0) {
    const mailbox = parseMailbox(target)
    return 'problem' in mailbox ? mailbox : { kind: 'reroute', domain: mailbox.domain, mailbox }
  }
  const name = target.replace(/^@/, '')
  const domain = rerouteDomain(name)
  if (domain) return { kind: 'reroute', domain }
  const behind = name.slice(name.lastIndexOf('@') + 1)
  const hint = rerouteDomain(behind) ? `; probably meant: reroute ${behind}` : ''
  return { problem: `'${redactUserinfo(target)}' is not a domain name${hint}` }
}

const rerouteDomain = (text: string) => parseDomain(text) ?? canonicalLiteral(text)

const DEFAULT_PORT = { smtp: 25, smtps: 465, lmtp: 24 } as const

/**
 * Reads `smtp://`, `smtps://` or `lmtp://` with host, optional port and optional percent-encoded
 * `user:password@`.
 */
export function parseNextHop(text: string): NextHop | { readonly problem: string } {
  const shown = shownHop(text)
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(text) ?? []
  if (!scheme) {
    const hint = parseHostPort(text, 25) ? `; probably meant: smtp://${text}` : ''
    return { problem: `'${shown}' is not a next hop${hint}` }
  }
  const protocol = (['smtp', 'smtps', 'lmtp'] as const).find(
    (name) => name === scheme.toLowerCase(),
  )
  if (!protocol) {
    const meant = didYouMean(scheme, ['smtp', 'smtps', 'lmtp'])
    const hint = meant ? `; probably meant: ${meant}://` : ''
    return { problem: `'${shown}': a next hop is smtp://, smtps:// or lmtp://${hint}` }
  }
  const at = rest.lastIndexOf('@')
  const target = parseHostPort(rest.slice(at + 1).replace(/\/$/, ''), DEFAULT_PORT[protocol])
  if (!target)
    return {
      problem: `'${shown}': after :// comes a host name or [IPv6] address and a port from 1 to 65535`,
    }
  const credentials = at === -1 ? {} : parseUserinfo(rest.slice(0, at))
  if (!credentials) {
    return { problem: `'${shown}': before the @ comes user:password, percent-encoded` }
  }
  const hostText = target.host.includes(':') ? `[${target.host}]` : target.host
  return { protocol, ...target, ...credentials, text: `${protocol}://${hostText}:${target.port}` }
}

function parseHostPort(
  text: string,
  defaultPort: number,
): { host: string; port: number } | undefined {
  const [, literal, name, portText] =
    /^(?:\[([^\]]*)\]|([^:[\]/?#@\s]+))(?::(\d+))?$/.exec(text) ?? []
  const port = portText === undefined ? defaultPort : Number(portText)
  if (port < 1 || port > 65535) return undefined
  if (literal !== undefined) {
    const address = canonicalLiteral(`[IPv6:${literal}]`) ?? canonicalLiteral(`[${literal}]`)
    return address ? { host: address.replace(/^\[(ipv6:)?|\]$/g, ''), port } : undefined
  }
  if (!name) return undefined
  const host = canonicalLiteral(`[${name}]`) ? name : parseDomain(name)
  return host ? { host, port } : undefined
}

function parseUserinfo(text: string): { user: string; password: string } | undefined {
  const [, user, password] = /^([^:]+):(.*)$/s.exec(text) ?? []
  if (user === undefined || password === undefined) return undefined
  try {
    return { user: decodeURIComponent(user), password: decodeURIComponent(password) }
  } catch {
    return undefined
  }
}

/**
 * Turns `smtp://user:secret@host` into `smtp://***@host`, even if the password holds an `@` or a space, and
 * even if `smtp://` or `@host` is missing.
 */
export function redactUserinfo(text: string): string {
  // Searching for an @ after each colon of a long list would take long.
  const named = text.includes('@')
    ? text
        .replace(/:\/\/((?!:\/\/).)*@/gs, '://***@')
        .replace(/[^\s,:/@]+:(?!\/\/)((?!:\/\/).)*@/gs, '***@')
    : text
  return named.replace(/(\/\/[^\s,:/@[\]]+:)(?!\d+(?:[\s,/]|$))[^\s,]+/g, '$1***')
}

// A word may be half of a password, if the password holds a space or comma.
function shownHop(word: string): string {
  return redactUserinfo(word)
    .replace(/^[^/]*@/, '***@')
    .replace(/^([^:/@[]+:)(?!\/\/|\d+\/?$).*/, '$1***')
}

// A recipient as the rules see it: the local part untouched, the domain in canonical form, and whether
// the local part asks some later system to send the mail onward.
import { isIpv4, parseIpv6 } from './networks'

/** One recipient of a transaction (RFC 5321 §4.1.2). */
export interface Recipient {
  /** The local part exactly as sent, quotes and case kept; never decoded. */
  readonly local: string
  /** The local part in its plain form, in which mailboxes are compared. */
  readonly plainLocal: string
  /** Lower-case A-label domain, or a canonical address literal; '' for a bare `<postmaster>`. */
  readonly domain: string
  /** Whether the local part holds `%`, `!`, `@` or an IMCEA encapsulation (Q237927, Q244346, Q264330). */
  readonly routesOnward: boolean
}

const IMCEA = /^imcea[^-]*-/i
/** Matches every local part that routes onward, and hardly any other. */
const MAY_ROUTE_ONWARD = /[%!@]|^["i]/i
const ROUTES = /[%!@]/
/** The next system removes these (RFC 5321 §4.1.2): it reads `"\IMCEASMTP-…"` as if they were not there. */
const QUOTING = /["\\\s]/g

/**
 * @param local the local part as sent
 * @param domain the domain as Haraka gives it: an A-label of any case, or an address literal
 */
export function recipientOf(local: string, domain: string): Recipient {
  return recipientAt(local, canonicalDomain(domain))
}

/** @param domain in canonical form, see {@link canonicalDomain} */
export function recipientAt(local: string, domain: string): Recipient {
  return {
    local,
    plainLocal: plainLocalPart(local),
    domain,
    routesOnward: asksOnward(local),
  }
}

const QUOTED = /^"((?:[^"\\]|\\.)*)"$/s

/** `"ann"` and `"a\nn"` are `ann`: quotes that are not needed mean nothing (RFC 5321 §4.1.2). */
export function plainLocalPart(local: string): string {
  if (!local.startsWith('"')) return local
  const content = QUOTED.exec(local)?.[1]
  return content === undefined ? local : content.replace(/\\(.)/gs, '$1')
}

const DOT_STRING = /^[\w!#$%&'*+/=?^`{|}~\u0080-\uffff-]+(\.[\w!#$%&'*+/=?^`{|}~\u0080-\uffff-]+)*$/

/** The quoted form of a plain local part if SMTP needs it; otherwise the plain form itself. */
export function sentLocalPart(plain: string): string {
  return DOT_STRING.test(plain) ? plain : quoted(plain)
}

/** A plain local part in quotes. */
export const quoted = (plain: string) => `"${plain.replace(/["\\]/g, '\\$&')}"`

function asksOnward(local: string): boolean {
  if (!MAY_ROUTE_ONWARD.test(local)) return false
  return (
    ROUTES.test(local) || IMCEA.test(local.startsWith('"') ? local.replace(QUOTING, '') : local)
  )
}

/** A mailbox derived from part of the address that was sent. @param plainLocal see {@link Recipient} */
export function recipientNamed(plainLocal: string, domain: string): Recipient {
  return { local: sentLocalPart(plainLocal), plainLocal, domain, routesOnward: false }
}

/**
 * The mailboxes that a sub-address may belong to (RFC 5233). If there are several delimiters, each may also
 * be part of the user's name, so the longest name comes first.
 *
 * @param delimiters each character is a delimiter; '' for none
 */
export function withoutDetail(recipient: Recipient, delimiters: string): readonly Recipient[] {
  const { plainLocal, domain } = recipient
  return userNames(plainLocal, delimiters).map((user) => recipientNamed(user, domain))
}

/** The local parts that remain without the detail, see {@link withoutDetail}. */
export function userNames(plainLocal: string, delimiters: string): readonly string[] {
  if (delimiters.length === 1) {
    const end = plainLocal.indexOf(delimiters)
    return end > 0 ? [plainLocal.slice(0, end)] : NOBODY
  }
  return [...delimiters]
    .map((delimiter) => plainLocal.indexOf(delimiter))
    .filter((end) => end > 0)
    .sort((one, other) => other - one)
    .map((end) => plainLocal.slice(0, end))
}

const NOBODY: readonly string[] = Object.freeze([])

/** The local part in the form in which mailboxes are compared: plain, NFC, lower case. */
export function localKey({ plainLocal }: Pick<Recipient, 'plainLocal'>): string {
  return folded(plainLocal)
}

/** NFC and lower case; as in Unicode's case folding, a final sigma is the same as any other sigma. */
export function folded(text: string): string {
  if (isPlainAscii(text)) return text.toLowerCase()
  return text.normalize('NFC').toLowerCase().replaceAll('ς', 'σ').normalize('NFC')
}

const PLAIN_ASCII = /^[\x20-\x7e]*$/

/**
 * Whether the text is ASCII without control characters. A loop would take longer: strings come in many
 * internal forms, so V8 looks up `length` and `charCodeAt` again for each character.
 */
export const isPlainAscii = (text: string): boolean => PLAIN_ASCII.test(text)

/** The same mailbox name at another domain, for `reroute` rows (Q190710). */
export function atDomain(recipient: Recipient, domain: string): Recipient {
  return { ...recipient, domain }
}

/** `local@domain` for logs and results; a bare postmaster has no `@`. */
export function addressText(recipient: Recipient): string {
  return recipient.domain ? `${recipient.local}@${recipient.domain}` : recipient.local
}

/** Lower case; literals in canonical spelling (`[IPv6:2001:DB8:0::7]` becomes `[ipv6:2001:db8::7]`). */
export function canonicalDomain(domain: string): string {
  const lower = domain.toLowerCase()
  return lower.startsWith('[') ? (canonicalLiteral(lower) ?? lower) : lower
}

/** @returns undefined if the text is not an IPv4 or IPv6 address literal (RFC 5321 §4.1.3) */
export function canonicalLiteral(text: string): string | undefined {
  const [, ipv6, address = ''] = /^\[(ipv6:)?([^\]]+)\]$/i.exec(text) ?? []
  if (ipv6) {
    const parsed = parseIpv6(address)
    return parsed && `[ipv6:${parsed}]`
  }
  return isIpv4(address) ? `[${address}]` : undefined
}

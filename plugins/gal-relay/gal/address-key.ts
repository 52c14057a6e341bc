// The normal form in which addresses are compared, whether they come from a recipient, an entry,
// the cache or the snapshot. Directories compare more loosely than mail systems do (Active
// Directory ignores accents, caseIgnoreMatch folds spaces), so everything that they return is
// compared again in this form.
import { domainToASCII, domainToUnicode } from 'node:url'
import type { Entry } from '../ldap/entry'
import { parseIpv6 } from '../routing/networks'
import {
  canonicalDomain,
  folded,
  isPlainAscii,
  localKey,
  plainLocalPart,
  quoted,
  type Recipient,
} from '../routing/recipient'
import { type AddressValue, firstAddress, X500_DOMAIN } from './directory/entry-addresses'

/**
 * Brings an address from an entry into that form: plain local part, NFC, lower case, and the domain
 * as an A-label or canonical literal.
 */
export function addressKey(address: string): string {
  const at = address.lastIndexOf('@')
  if (at < 0) return folded(address)
  const local = plainLocalPart(address.slice(0, at))
  return `${folded(local)}@${domainKey(address.slice(at + 1))}`
}

/**
 * @param names attribute names in lower case
 * @returns the value in which the entry holds the address
 */
export function valueWithKey(
  entry: Entry,
  key: string,
  names: ReadonlySet<string>,
): AddressValue | undefined {
  return firstAddress(entry, names, (address) => addressKey(address) === key)
}

export { localKey } from '../routing/recipient'

/** Brings a recipient into the same form; its domain already is. */
export function recipientKey(recipient: Recipient): string {
  const local = localKey(recipient)
  // V8 would assemble a string made with + again for each comparison.
  return recipient.domain ? [local, recipient.domain].join('@') : local
}

/** Splits what {@link recipientKey} returned. */
export function splitKey(key: string): { readonly local: string; readonly domain: string } {
  const at = key.lastIndexOf('@')
  return at < 0
    ? { local: key, domain: '' }
    : { local: key.slice(0, at), domain: key.slice(at + 1) }
}

/**
 * The spellings of this address to search for. The local part is written as it was sent, plain, and in
 * quotes, whether needed or not; beyond ASCII, also in both cases, because directories do not know all
 * pairs of letters, and composed and decomposed, because Active Directory distinguishes the two. Each
 * label of the domain is written as an A-label, and as a U-label if it has one; an IPv6 address literal
 * also with its zeros written out.
 */
export function spellings(recipient: Recipient): string[] {
  const { local, plainLocal, domain } = recipient
  if (!domain) return [local]
  if (domain === X500_DOMAIN) return [`${plainLocal}@${domain}`]
  const inQuotes = quoted(plainLocal)
  const written = local === plainLocal || local === inQuotes ? [] : [local]
  const locals = [...written, plainLocal, inQuotes].flatMap(inBothCases)
  return domainSpellings(domain).flatMap((name) => locals.map((part) => `${part}@${name}`))
}

function domainSpellings(domain: string): readonly string[] {
  if (domain.includes('xn--')) return [...new Set(inBothAlphabets(domain).flatMap(normalForms))]
  if (!domain.startsWith('[ipv6:')) return [domain]
  const ip = parseIpv6(domain.slice('[ipv6:'.length, -1))
  return ip ? [...new Set([domain, `[ipv6:${ip.toNormalizedString()}]`])] : [domain]
}

/** With more labels than this, all are written one way or all the other: each label doubles the spellings. */
const MOST_LABELS = 3

/** All spellings of the domain that write each A-label as such or, if it has one, as a U-label. */
function inBothAlphabets(domain: string): readonly string[] {
  const unicode = domainToUnicode(domain)
  if (!unicode || unicode === domain) return [domain]
  const own = domain.split('.')
  const others = unicode.split('.')
  const international = own.filter((label, i) => label !== others[i]).length
  if (own.length !== others.length || international > MOST_LABELS) return [domain, unicode]
  return own.reduce<string[]>(
    (names, label, i) => {
      const either = [...new Set([label, others[i] as string])]
      return names.flatMap((name) => either.map((one) => (i === 0 ? one : `${name}.${one}`)))
    },
    [''],
  )
}

/** All directories fold ASCII letters. An upper case that makes another word (`SS` for `ß`) is left out. */
function inBothCases(text: string): readonly string[] {
  if (isPlainAscii(text)) return [text]
  const lower = text.toLowerCase()
  // A full stop does not end a word to toLowerCase.
  const greek = lower.replace(/σ(?![\p{L}\p{M}])/gu, 'ς')
  const key = folded(text)
  const same = [text, lower, greek, text.toUpperCase()].filter((one) => folded(one) === key)
  return [...new Set(same.flatMap(normalForms))]
}

const normalForms = (text: string): readonly string[] =>
  isPlainAscii(text) ? [text] : [...new Set([text, text.normalize('NFC'), text.normalize('NFD')])]

function domainKey(domain: string): string {
  if (isPlainAscii(domain)) return canonicalDomain(domain)
  return domainToASCII(domain) || folded(domain)
}

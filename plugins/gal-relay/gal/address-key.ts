// The normal form in which two addresses compare: what a recipient asks for, what an entry holds, what
// the cache and the snapshot keep. Directories compare more loosely than mail systems do (Active
// Directory ignores accents, caseIgnoreMatch folds spaces), so whatever they return is compared again
// in this form.
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
import { type AddressValue, addressValuesOf, X500_DOMAIN } from './directory/entry-addresses'

/** Plain local part, NFC, lower case, domain as A-label or canonical literal: of an address as an entry holds it. */
export function addressKey(address: string): string {
  const at = address.lastIndexOf('@')
  if (at < 0) return folded(address)
  const local = plainLocalPart(address.slice(0, at))
  return `${folded(local)}@${domainKey(address.slice(at + 1))}`
}

/**
 * @param names of attributes, in lower case
 * @returns the value with which the entry holds the address
 */
export function valueWithKey(
  entry: Entry,
  key: string,
  names: ReadonlySet<string>,
): AddressValue | undefined {
  return addressValuesOf(entry, names).find(({ address }) => addressKey(address) === key)
}

export { localKey } from '../routing/recipient'

/** A recipient in the same form, whose domain already has it. */
export function recipientKey(recipient: Recipient): string {
  const local = localKey(recipient)
  // A sum would be put together at each comparison.
  return recipient.domain ? [local, recipient.domain].join('@') : local
}

/** What {@link recipientKey} has put together. */
export function partsOf(key: string): { readonly local: string; readonly domain: string } {
  const at = key.lastIndexOf('@')
  return at < 0
    ? { local: key, domain: '' }
    : { local: key.slice(0, at), domain: key.slice(at + 1) }
}

/**
 * The ways in which an entry may spell this address, to search for: the local part as it was sent,
 * plain, and in quotes, needed or not; beyond ASCII in both cases, since directories do not know all pairs
 * of letters, and composed and decomposed, which Active Directory tells apart; each label of the domain
 * as A-label, and as U-label when it has one; an IPv6 address literal also with its zeros written out.
 */
export function spellings(recipient: Recipient): string[] {
  const { local, plainLocal, domain } = recipient
  if (!domain) return [local]
  if (domain === X500_DOMAIN) return [`${plainLocal}@${domain}`]
  const locals = [...new Set([local, plainLocal, quoted(plainLocal)].flatMap(inBothCases))]
  return domainSpellings(domain).flatMap((name) => locals.map((part) => `${part}@${name}`))
}

function domainSpellings(domain: string): readonly string[] {
  if (domain.includes('xn--')) return [...new Set(inBothAlphabets(domain).flatMap(normalForms))]
  const ip = parseIpv6(/^\[ipv6:(.+)\]$/.exec(domain)?.[1] ?? '')
  return ip ? [...new Set([domain, `[ipv6:${ip.toNormalizedString()}]`])] : [domain]
}

/** Labels beyond these are written either all in one way or all in the other: with each, there are twice as many. */
const MOST_LABELS = 3

/** With each A-label that has a U-label written as the one or the other. */
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

/** Letters of ASCII are folded by all directories. Whose upper case is another word (`SS` for `ß`) stays. */
function inBothCases(text: string): readonly string[] {
  if (isPlainAscii(text)) return [text]
  const lower = text.toLowerCase()
  // A full stop does not end a word to toLowerCase.
  const greek = lower.replace(/σ(?![\p{L}\p{M}])/gu, 'ς')
  const same = [text, lower, greek, text.toUpperCase()].filter(
    (one) => folded(one) === folded(text),
  )
  return same.flatMap(normalForms)
}

const normalForms = (text: string): readonly string[] =>
  isPlainAscii(text) ? [text] : [...new Set([text, text.normalize('NFC'), text.normalize('NFD')])]

function domainKey(domain: string): string {
  if (isPlainAscii(domain)) return canonicalDomain(domain)
  return domainToASCII(domain) || folded(domain)
}

// The normal form in which two addresses compare: what a recipient asks for, what an entry holds, what
// the cache and the snapshot keep. Directories compare more loosely than mail systems do (Active
// Directory ignores accents, caseIgnoreMatch folds spaces), so whatever they return is compared again
// in this form.
import { domainToASCII, domainToUnicode } from 'node:url'
import { canonicalDomain, type Recipient } from '../routing/recipient'

const ASCII = /^[\x20-\x7e]*$/

/** NFC, lower case, domain as A-label or canonical literal: of an address as an entry holds it. */
export function addressKey(address: string): string {
  const at = address.lastIndexOf('@')
  if (at < 0) return folded(address)
  return `${folded(address.slice(0, at))}@${domainKey(address.slice(at + 1))}`
}

/** The same form of a recipient, whose domain already has it. */
export function recipientKey(recipient: Recipient): string {
  const local = folded(recipient.local)
  return recipient.domain ? `${local}@${recipient.domain}` : local
}

/**
 * The ways in which an entry may spell this address, to search for: the local part as it was sent,
 * and in NFC when that is another; the domain as A-label, and as U-label when it has one.
 */
export function spellings(recipient: Recipient): string[] {
  const { local, domain } = recipient
  if (!domain) return [local]
  const locals = ASCII.test(local) ? [local] : [...new Set([local, local.normalize('NFC')])]
  const unicode = domain.includes('xn--') ? domainToUnicode(domain) : ''
  const domains = unicode && unicode !== domain ? [domain, unicode] : [domain]
  return domains.flatMap((name) => locals.map((part) => `${part}@${name}`))
}

function folded(text: string): string {
  return ASCII.test(text)
    ? text.toLowerCase()
    : text.normalize('NFC').toLowerCase().normalize('NFC')
}

function domainKey(domain: string): string {
  if (ASCII.test(domain)) return canonicalDomain(domain)
  return domainToASCII(domain) || folded(domain)
}

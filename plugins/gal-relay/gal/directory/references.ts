// References to other servers for parts of the tree (RFC 4511 §4.5.3, RFC 4516): which of these parts may
// hold recipients, and which servers may be asked with our credentials.

import { printable } from '../../ldap/directory-error'
import type { LdapSettings, ServerUrl } from '../../settings/settings'

/** A part of the tree on another server. */
export interface Reference {
  readonly url: ServerUrl
  /** The base to search there; undefined if it is the one that was searched here. */
  readonly base: string | undefined
}

/** Active Directory's own partitions, which hold no recipients. */
const NO_RECIPIENTS = /^(dc=(domain|forest)dnszones|(cn=schema,)?cn=configuration),dc=/i

const PORTS = { ldap: 389, ldaps: 636 } as const

/** @returns undefined for text that is not an LDAP URL with a host */
export function parseReference(text: string): Reference | undefined {
  const [, scheme = '', authority = '', dn = ''] =
    /^(ldaps?):\/\/([^/?]*)(?:\/([^?]*))?/i.exec(text) ?? []
  const [, ipv6, name, portText] =
    /^(?:\[([\da-f:.]+)\]|([^:[\]@\s]+))(?::(\d{1,5}))?$/i.exec(authority) ?? []
  const host = (ipv6 ?? name)?.toLowerCase()
  const base = decoded(dn)
  if (!host || base === undefined) return undefined
  const way = scheme.toLowerCase() === 'ldaps' ? 'ldaps' : 'ldap'
  const port = Number(portText ?? PORTS[way])
  if (port < 1 || port > 65535) return undefined
  const at = ipv6 ? `[${host}]` : host
  return {
    url: { scheme: way, host, port, text: `${way}://${at}:${port}` },
    base: base === '' ? undefined : base,
  }
}

/** The references that may lead to recipients, each once. */
export function mayHoldRecipients(urls: readonly string[]): string[] {
  const leading = urls.filter((url) => !NO_RECIPIENTS.test(parseReference(url)?.base ?? ''))
  return [...new Set(leading)]
}

/** References to the same part of the tree: any of them will do (RFC 4511 §4.5.3). */
export function byPart(urls: readonly string[]): readonly (readonly string[])[] {
  const parts = new Map<string, string[]>()
  for (const url of urls) {
    const part = parseReference(url)?.base?.toLowerCase() ?? url
    const others = parts.get(part)
    if (others) others.push(url)
    else parts.set(part, [url])
  }
  return [...parts.values()]
}

/** Why a reference is not followed with our credentials; undefined if it is. */
export function whyNotFollowed(text: string, ldap: LdapSettings): string | undefined {
  if (ldap.referrals !== 'follow') return 'referrals = report'
  const reference = parseReference(text)
  if (!reference) return 'it is not an LDAP URL with a host'
  const { host, scheme } = reference.url
  if (!ldap.referral_hosts.includes(host)) return `${host} is not in referral_hosts[]`
  // A password that has only ever been sent over TLS must not be sent in clear text.
  const isProtected = ldap.url.every((one) => one.scheme === 'ldaps')
  if (isProtected && scheme === 'ldap' && !ldap.starttls) return 'that would be without TLS'
  return undefined
}

/** What is left out, and what to do about it. */
export function referredText(
  base: string,
  url: string,
  why: string,
  isActiveDirectory: boolean,
): string {
  const what = `part of the tree below ${base || 'the top'} is at ${printable(url)}`
  const todo = isActiveDirectory
    ? 'use the Global Catalog (port 3268 or 3269, empty base)'
    : 'set referrals = follow and name its host in referral_hosts[]'
  return `${what} and is not searched (${why}): ${todo}`
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

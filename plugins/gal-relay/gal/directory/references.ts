// Where a server refers to others for parts of the tree (RFC 4511 §4.5.3, RFC 4516): which of these
// parts may hold recipients, and which servers may be asked with our credentials.
import type { LdapSettings, ServerUrl } from '../../settings/settings'

/** A part of the tree on another server. */
export interface Reference {
  readonly url: ServerUrl
  /** undefined: the one that was searched. */
  readonly base: string | undefined
}

/** Active Directory's own partitions, which hold no recipients. */
const NO_RECIPIENTS = /^(dc=(domain|forest)dnszones|(cn=schema,)?cn=configuration),dc=/i

const PORTS = { ldap: 389, ldaps: 636 } as const

/** @returns undefined for what is no LDAP URL with a host */
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

/** Why a server may not be asked with our credentials; undefined: it may. */
export function notToBeAsked(reference: Reference, ldap: LdapSettings): string | undefined {
  const { host, scheme } = reference.url
  if (!ldap.referral_hosts.some((allowed) => allowed.toLowerCase() === host)) {
    return `${host} is not in referral_hosts[]`
  }
  const isProtected = ldap.starttls || ldap.url.every((one) => one.scheme === 'ldaps')
  if (isProtected && scheme === 'ldap' && !ldap.starttls) return `${host} is to be asked without TLS`
  return undefined
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

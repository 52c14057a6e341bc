// Advice on a server that cannot be reached or does not let us in.

import { ADMIN_LIMIT_EXCEEDED, type DirectoryError } from '../../ldap/directory-error'
import type { RootDse } from '../../ldap/root-dse'
import type { LdapSettings } from '../../settings/settings'

/** @returns advice on a connection, TLS or bind error, to append to its message; '' if there is none */
export function hint({ failure, code, message }: DirectoryError, ldap: LdapSettings): string {
  if (ldap.bind_method === 'external' && code !== undefined) {
    return '; does it know us by our certificate (tls_cert) or our user on its socket (ldapi://)?'
  }
  if (code === 50 && /restricted to bind/i.test(message))
    return '; the password of bind_dn must be changed first (overlay ppolicy, pwdReset)'
  if (code === 53 && /authentication required/i.test(message)) return '; set bind_dn'
  if (code === 49) return '; are bind_dn and bind_password right?'
  if (code === 8 || code === 13) return '; it requires TLS: use ldaps:// or starttls = true'
  if (code === ADMIN_LIMIT_EXCEEDED) return limitHint({ code })
  if (code !== undefined && !ldap.bind_dn)
    return '; does it accept anonymous binds? If not, set bind_dn'
  if (failure === 'timeout') return '; is the port right, and does a firewall let us through?'
  if (/altname|does not match/i.test(message))
    return '; url[] must have the name in the certificate'
  if (/self.signed|unable to (get|verify)/i.test(message)) {
    return "; set tls_ca to the file with its authority's certificate"
  }
  if (/unsupported protocol|protocol version|no protocols/i.test(message)) {
    return '; it supports only TLS 1.0 or 1.1, which is refused: enable TLS 1.2 there'
  }
  if (/wrong version number|packet length too long/i.test(message)) {
    return '; that port does not use TLS: ldaps:// is on 636, the Global Catalog on 3269'
  }
  if (/key too small|md too weak|ca md/i.test(message)) {
    return '; its certificate is too weak: it needs one of 2048 bits with SHA-256'
  }
  if (/certificate has expired/i.test(message)) return '; its certificate must be renewed'
  if (message.includes('ECONNREFUSED')) return '; nothing listens there'
  if (/ENOTFOUND|EAI_AGAIN/.test(message)) return '; the name is not in DNS'
  return ''
}

/** Advice to raise the account's limits, by the names that they have on this server. */
export function limitsToRaise({ isOpenLdap }: RootDse): string {
  if (isOpenLdap) return 'raise sizelimit, or limits for bind_dn'
  return (
    'raise nsslapd-sizelimit and nsslapd-lookthroughlimit, or for bind_dn alone nsSizeLimit, ' +
    'nsLookThroughLimit and nsPagedSizeLimit'
  )
}

/** What to do about a search that ended so, to be appended; or ''. */
export function limitHint({ code }: { readonly code?: number | undefined }): string {
  if (code !== ADMIN_LIMIT_EXCEEDED) return ''
  return (
    '; it examines more entries than this account may: index the attributes for equality and presence, ' +
    'or raise the limit (OpenLDAP: limits for bind_dn, size.unchecked; 389: nsLookThroughLimit)'
  )
}

/** `[ldap] url[]` */
export interface ServerUrl {
  readonly scheme: 'ldap' | 'ldaps' | 'srv'
  /** Host name or IP address without brackets; for srv the domain whose `_ldap._tcp` is asked. */
  readonly host: string
  readonly port: number
  /** As written, without userinfo. */
  readonly text: string
}

export interface GalSettings {
  readonly mode: 'live' | 'snapshot'
  readonly attributes: readonly string[]
  readonly filter: string
  readonly any_domain: boolean
  readonly always_accept: readonly string[]
  readonly recipient_delimiter: string
  readonly authenticated_only_attribute: string
  readonly cache_found: number
  readonly cache_absent: number
  readonly cache_stale: number
  readonly cache_size: number
}

export interface LdapSettings {
  readonly url: readonly ServerUrl[]
  readonly base: readonly string[]
  readonly bind_dn: string
  readonly bind_password: string
  readonly bind_password_file: string
  readonly starttls: boolean
  readonly tls_ca: string
  readonly tls_cert: string
  readonly tls_key: string
  readonly tls_verify: boolean
  readonly connections: number
  readonly connect_timeout: number
  readonly query_timeout: number
  readonly answer_within: number
  readonly retry_after: { readonly least: number; readonly most: number }
}

// The client's options: which servers to use, how to connect and which account to use. Their names
// are those of `[ldap]` in gal_relay.ini, to which error messages refer.
import type { Trusted } from '../trusted-file'

/** A server, or for `srv` a domain that has some. */
export interface ServerUrl {
  readonly scheme: 'ldap' | 'ldaps' | 'ldapi' | 'srv'
  /**
   * Host name or IP address without brackets; for `srv`, the domain whose `_ldap._tcp` records are
   * looked up; for `ldapi`, the path of a socket.
   */
  readonly host: string
  readonly port: number
  /** Without userinfo. */
  readonly text: string
}

/** Where one server listens. */
export interface Endpoint {
  readonly tls: boolean
  /** Host name or IP address, or the path of a Unix-domain socket. */
  readonly host: string
  readonly port: number
  /** For logs. */
  readonly name: string
  /** Set if DNS named the host as a server of this domain and the settings name only the domain. */
  readonly domain?: string
}

/** Times are in milliseconds; unset texts are ''. */
export interface LdapOptions {
  /** In the order in which they are asked. */
  readonly url: readonly ServerUrl[]
  readonly bind_method: 'simple' | 'external'
  /** '' for an anonymous bind. */
  readonly bind_dn: string
  readonly bind_password: string
  /** A file whose first line is the password; it takes precedence over `bind_password`. */
  readonly bind_password_file: string
  readonly starttls: boolean
  readonly tls_ca: string
  readonly tls_cert: string
  readonly tls_key: string
  readonly tls_verify: boolean
  /** The most connections to each server. */
  readonly connections: number
  readonly connect_timeout: number
  readonly query_timeout: number
  /** For a whole question, however many servers it takes. */
  readonly answer_within: number
  /** How long to wait before a server that is down is tried again: at first, and at most. */
  readonly retry_after: { readonly least: number; readonly most: number }
  /** Whose files are trusted, besides root's and our own. */
  readonly trusted?: Trusted
}

// What the client is told: which servers, how to connect and who we are. The names are those of
// `[ldap]` in gal_relay.ini, which messages of errors speak of; whoever has them there hands them over.
import type { Trusted } from '../trusted-file'

/** A server, or for `srv` a domain that has some. */
export interface ServerUrl {
  readonly scheme: 'ldap' | 'ldaps' | 'ldapi' | 'srv'
  /**
   * Host name or IP address without brackets; for srv the domain whose `_ldap._tcp` is asked; for ldapi
   * the path of a socket.
   */
  readonly host: string
  readonly port: number
  /** Without userinfo. */
  readonly text: string
}

/** Where one server listens. */
export interface Endpoint {
  readonly tls: boolean
  /** Or the path of a Unix-domain socket. */
  readonly host: string
  readonly port: number
  /** For logs. */
  readonly name: string
  /** DNS named the host as one of this domain's servers: the settings name the domain alone. */
  readonly domain?: string
}

/** Times in milliseconds; '' for what is not set. */
export interface LdapOptions {
  /** In the order in which they are asked. */
  readonly url: readonly ServerUrl[]
  readonly bind_method: 'simple' | 'external'
  /** '': anonymous. */
  readonly bind_dn: string
  readonly bind_password: string
  /** Its first line is the password; it wins over the one above. */
  readonly bind_password_file: string
  readonly starttls: boolean
  readonly tls_ca: string
  readonly tls_cert: string
  readonly tls_key: string
  readonly tls_verify: boolean
  /** For each server. */
  readonly connections: number
  readonly connect_timeout: number
  readonly query_timeout: number
  /** For a whole question, whatever servers it takes. */
  readonly answer_within: number
  /** Until a server that is down is tried again: at first, and at most. */
  readonly retry_after: { readonly least: number; readonly most: number }
  /** Whose files are believed, besides root's and our own. */
  readonly trusted?: Trusted
}

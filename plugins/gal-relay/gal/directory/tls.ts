// How TLS is spoken to a directory server. The files are read for each new connection, so that a
// renewed certificate counts from the next connection on.
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import type { LdapSettings } from '../../settings/settings'
import { DirectoryError } from './directory-error'

/** @throws Error when a file cannot be read; its text names the file */
export async function tlsOptions(ldap: LdapSettings, host: string): Promise<ConnectionOptions> {
  const [ca, cert, key] = await Promise.all(
    [ldap.tls_ca, ldap.tls_cert, ldap.tls_key].map((file) => (file ? readFile(file) : undefined)),
  )
  return {
    ca,
    cert,
    key,
    host,
    servername: isIP(host) ? '' : host,
    rejectUnauthorized: ldap.tls_verify,
  }
}

/**
 * TLS over a connected socket.
 * @throws DirectoryError when the handshake fails or the certificate is not right
 */
export function secured(socket: Socket, options: ConnectionOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    try {
      const tls = tlsConnect({ ...options, socket }, () => {
        tls.removeListener('error', failed).removeListener('close', closed)
        resolve(tls)
      })
      const failed = (error: Error) => reject(new DirectoryError('tls', `TLS: ${error.message}`))
      const closed = () => failed(new Error('the server closed the connection'))
      tls.once('error', failed).once('close', closed)
    } catch (error) {
      reject(new DirectoryError('tls', `TLS: ${error instanceof Error ? error.message : error}`))
    }
  })
}

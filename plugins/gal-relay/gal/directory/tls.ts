// How TLS is spoken to a directory server. The files are read for each new connection, so that a
// renewed certificate counts from the next connection on.
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import { guard } from '../../guard'
import type { LdapSettings } from '../../settings/settings'
import { DirectoryError } from './directory-error'

/** @throws DirectoryError when a file cannot be read */
export async function tlsOptions(ldap: LdapSettings, host: string): Promise<ConnectionOptions> {
  const [ca, cert, key] = await Promise.all(
    (['tls_ca', 'tls_cert', 'tls_key'] as const).map((key) => readNamed(key, ldap[key])),
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
 * @param key of gal_relay.ini that names the file
 * @returns undefined when it names none
 * @throws DirectoryError when it cannot be read; its text has the key and the file
 */
export async function readNamed(key: string, file: string): Promise<Buffer | undefined> {
  if (!file) return undefined
  try {
    return await readFile(file)
  } catch (error) {
    // Node's text has the file behind `open` only.
    const reason = (error as Error).message.replace(/, \w+(?: '.*')?$/s, '')
    throw new DirectoryError('connection', `${key} cannot be read: ${file}: ${reason}`)
  }
}

const CLOSED = 'the server closed the connection'

/**
 * TLS over a connected socket.
 * @throws DirectoryError when the handshake fails or the certificate is not right
 */
export function secured(socket: Socket, options: ConnectionOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    try {
      const fail = (text: string) => reject(new DirectoryError('tls', `TLS: ${text}`))
      const failed = guard('TLS handshake', (error: Error) => fail(error.message), reject)
      const closed = guard('closed TLS connection', () => fail(CLOSED), reject)
      const secure = () => {
        tls.removeListener('error', failed).removeListener('close', closed)
        resolve(tls)
      }
      const tls = tlsConnect({ ...options, socket }, guard('secure connection', secure, reject))
      tls.once('error', failed).once('close', closed)
    } catch (error) {
      reject(new DirectoryError('tls', `TLS: ${error instanceof Error ? error.message : error}`))
    }
  })
}

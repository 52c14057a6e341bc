// TLS to a directory server. The files are read for each new connection, so a renewed certificate
// takes effect with the next connection.
import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import {
  type ConnectionOptions,
  checkServerIdentity,
  type PeerCertificate,
  connect as tlsConnect,
} from 'node:tls'
import { guard } from '../guard'
import { ROOT_AND_US, readTrusted, type Trusted, UntrustedFile } from '../trusted-file'
import { DirectoryError } from './directory-error'
import type { Endpoint, LdapOptions } from './options'
import { pemProblem } from './pem'

/** @throws DirectoryError if a file cannot be read */
export async function tlsOptions(
  ldap: LdapOptions,
  { host, domain }: Endpoint,
): Promise<ConnectionOptions> {
  const [ca, cert, key] = await Promise.all([
    readPem('tls_ca', 'CERTIFICATE', ldap),
    readPem('tls_cert', 'CERTIFICATE', ldap),
    readPem('tls_key', 'PRIVATE KEY', ldap),
  ])
  return {
    ca,
    cert,
    key,
    host,
    servername: isIP(host) ? '' : host,
    rejectUnauthorized: ldap.tls_verify,
    ...(domain === undefined ? {} : identityIn(domain, host)),
  }
}

async function readPem(
  key: 'tls_ca' | 'tls_cert' | 'tls_key',
  wanted: 'CERTIFICATE' | 'PRIVATE KEY',
  ldap: LdapOptions,
): Promise<Buffer | undefined> {
  const file = ldap[key]
  const bytes = await readNamed(key, file, ldap.trusted)
  const problem = bytes && pemProblem(bytes, file, wanted)
  if (problem) throw new DirectoryError('tls', `${key}: ${file} ${problem}`)
  return bytes
}

/**
 * The host's name is taken from DNS answers, which may be forged, so it proves nothing by itself
 * (RFC 6125 §6.2.1, RFC 4513 §3.1.3). A host inside the domain may have a certificate for its own
 * name, as in Active Directory; any other needs one for the domain that the settings name.
 */
function identityIn(domain: string, host: string): ConnectionOptions {
  const inside = isInside(host, domain)
  return {
    servername: inside ? host : domain,
    checkServerIdentity: (_, certificate: PeerCertificate) => {
      const wrong = checkServerIdentity(domain, certificate)
      if (!wrong) return undefined
      if (inside) return checkServerIdentity(host, certificate)
      return new Error(
        `DNS names ${host} as a server of ${domain}, but it is outside that domain, and its certificate is not ` +
          `for ${domain}; if it is correct, write ldaps://${host} into url[]`,
      )
    },
  }
}

/** Compares whole labels: `dc1.corp.example` is inside `corp.example`, `mycorp.example` is not. */
function isInside(host: string, domain: string): boolean {
  const [one, other] = [host, domain].map((name) => name.toLowerCase().replace(/\.$/, ''))
  return one === other || one?.endsWith(`.${other}`) === true
}

/**
 * @param key the key in gal_relay.ini that names the file
 * @returns `undefined` if it names none
 * @throws DirectoryError, which names key and file, if the file cannot be read or trusted
 */
export async function readNamed(
  key: string,
  file: string,
  trusted: Trusted = ROOT_AND_US,
): Promise<Buffer | undefined> {
  if (!file) return undefined
  try {
    return await readTrusted(file, trusted)
  } catch (error) {
    if (error instanceof UntrustedFile) {
      throw new DirectoryError('connection', `${key} is not used: ${error.message}`)
    }
    // Node's message ends with the call and the file, which is already named here.
    const reason = (error as Error).message.replace(/, \w+(?: '.*')?$/s, '')
    throw new DirectoryError('connection', `${key} cannot be read: ${file}: ${reason}`)
  }
}

const CLOSED = 'the server closed the connection'

/**
 * Starts TLS on a connected socket.
 * @throws DirectoryError if the handshake fails or the certificate is not valid
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

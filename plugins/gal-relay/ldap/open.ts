// Opens a connection that is ready for searches: TCP, TLS if configured, bind. One time-out covers
// all steps, and nothing is sent in the clear if TLS is configured.
import { guard, later, soon } from '../guard'
import { Connection } from './connection'
import { bound, credentialsToTry } from './credentials'
import { DirectoryError, directoryError } from './directory-error'
import { bindRequest, externalBindRequest } from './ldapjs'
import type { Endpoint, LdapOptions } from './options'
import { connectTo, isSocketPath } from './tcp'
import { secured, tlsOptions } from './tls'

/** If a timer fires this many milliseconds late, the process was blocked. */
const LATE = 50

/**
 * @param signal ends the attempt at once
 * @throws DirectoryError
 */
export async function openConnection(
  endpoint: Endpoint,
  ldap: LdapOptions,
  signal: AbortSignal,
): Promise<Connection> {
  const timeout = ldap.connect_timeout
  const attempt = new AbortController()
  const abort = () => attempt.abort()
  const cancel = guard('end of a connection attempt', abort, abort)
  const startedAt = performance.now()
  // Data that arrived in time is read first, and can be replied to if the process was blocked.
  const expire = () => {
    const late = performance.now() - startedAt - timeout
    if (late < LATE) soon('expired connection attempt', abort, abort)
    else timer = later(Math.min(late, timeout), 'late connection time-out', abort, abort)
  }
  let timer = later(timeout, 'connection time-out', expire, abort)
  signal.addEventListener('abort', cancel, { once: true })
  if (signal.aborted) cancel()
  try {
    return await opened(endpoint, ldap, attempt.signal)
  } catch (error) {
    if (signal.aborted) throw new DirectoryError('connection', 'connection closed')
    if (attempt.signal.aborted) {
      throw new DirectoryError('timeout', `no connection in ${timeout} ms`)
    }
    throw directoryError(error)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', cancel)
  }
}

async function opened(
  endpoint: Endpoint,
  ldap: LdapOptions,
  signal: AbortSignal,
): Promise<Connection> {
  const credentials = await credentialsToTry(ldap)
  const withTls = endpoint.tls || (ldap.starttls && !isSocketPath(endpoint.host))
  const tls = withTls ? await tlsOptions(ldap, endpoint) : undefined
  const tcp = await connectTo(endpoint.host, endpoint.port, signal)
  let connection: Connection | undefined
  const giveUp = () => tcp.destroy(new DirectoryError('timeout', 'too late'))
  const cancel = guard('connection that is not wanted any more', giveUp, giveUp)
  signal.addEventListener('abort', cancel, { once: true })
  try {
    if (tls && endpoint.tls) {
      connection = new Connection(await secured(tcp, tls))
    } else {
      connection = new Connection(tcp)
      if (tls)
        connection.upgrade(await secured(await connection.startTls(ldap.connect_timeout), tls))
    }
    const request =
      ldap.bind_method === 'external'
        ? externalBindRequest
        : (id: number) => bindRequest(id, ldap.bind_dn, credentials.password)
    const { code, diagnostic } = await connection.bind(request, ldap.connect_timeout)
    bound(ldap, credentials, code, diagnostic)
    return connection
  } catch (error) {
    connection?.destroy(directoryError(error))
    tcp.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

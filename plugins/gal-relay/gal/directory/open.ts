// Opens a connection that is ready for searches: TCP, TLS where it is wanted, bind. All of it within
// one time-out, and never in clear where TLS was asked for.
import { connect, type Socket } from 'node:net'
import type { LdapSettings } from '../../settings/settings'
import { Connection } from './connection'
import { DirectoryError, directoryError, resultError } from './directory-error'
import { readNamed, secured, tlsOptions } from './tls'

/** Where one server listens. */
export interface Endpoint {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  /** For logs. */
  readonly name: string
  /** DNS named the host as one of this domain's servers: the settings name the domain alone. */
  readonly domain?: string
}

const KEEP_ALIVE = 30_000
/** Timers that fire so much later than they should, in milliseconds: this process stood still. */
const LATE = 50

/**
 * @param signal ends the attempt at once
 * @throws DirectoryError
 */
export async function openConnection(
  endpoint: Endpoint,
  ldap: LdapSettings,
  signal: AbortSignal,
): Promise<Connection> {
  const timeout = ldap.connect_timeout
  const attempt = new AbortController()
  const cancel = () => attempt.abort()
  const startedAt = performance.now()
  // What has come in time is read first, and answered when there was no time for that.
  const expire = () => {
    const late = performance.now() - startedAt - timeout
    if (late < LATE) setImmediate(cancel)
    else timer = setTimeout(cancel, Math.min(late, timeout))
  }
  let timer = setTimeout(expire, timeout)
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
  ldap: LdapSettings,
  signal: AbortSignal,
): Promise<Connection> {
  const password = await passwordOf(ldap)
  const tls = endpoint.tls || ldap.starttls ? await tlsOptions(ldap, endpoint) : undefined
  const tcp = await connected(endpoint, signal)
  let connection: Connection | undefined
  const cancel = () => tcp.destroy(new DirectoryError('timeout', 'too late'))
  signal.addEventListener('abort', cancel, { once: true })
  try {
    if (tls && endpoint.tls) {
      connection = new Connection(await secured(tcp, tls))
    } else {
      connection = new Connection(tcp)
      if (tls)
        connection.upgrade(await secured(await connection.startTls(ldap.connect_timeout), tls))
    }
    const { code, diagnostic } = await connection.bind(ldap.bind_dn, password, ldap.connect_timeout)
    if (code !== 0) {
      const words = password ? diagnostic.replaceAll(password, '***') : diagnostic
      throw resultError(code, words)
    }
    return connection
  } catch (error) {
    connection?.destroy(directoryError(error))
    tcp.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

async function passwordOf(ldap: LdapSettings): Promise<string> {
  if (!ldap.bind_dn) return ''
  const file = await readNamed('bind_password_file', ldap.bind_password_file, ldap.trusted)
  const password = file ? firstLine(file) : ldap.bind_password
  // Servers take a name without password for an anonymous bind and say success (RFC 4513 §5.1.2).
  if (!password) throw new DirectoryError('connection', 'bind_dn is set, and the password is empty')
  return password
}

const firstLine = (file: Buffer) => file.toString('utf8').split(/\r?\n/, 1)[0] ?? ''

function connected({ host, port }: Endpoint, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Error('too late'))
    const socket = connect({ host, port, noDelay: true, keepAlive: true })
    socket.setKeepAlive(true, KEEP_ALIVE)
    const cancel = () => socket.destroy(new Error('too late'))
    signal.addEventListener('abort', cancel, { once: true })
    socket.once('error', (error) => {
      signal.removeEventListener('abort', cancel)
      reject(error)
    })
    socket.once('connect', () => {
      signal.removeEventListener('abort', cancel)
      socket.removeAllListeners('error')
      // Until the next owner listens; an error without a listener would end the process.
      socket.on('error', () => {})
      resolve(socket)
    })
  })
}

// Opens a connection that is ready for searches: TCP, TLS where it is wanted, bind. All of it within
// one time-out, and never in clear where TLS was asked for.
import { connect, type Socket } from 'node:net'
import { guard, later, soon } from '../../guard'
import type { LdapSettings } from '../../settings/settings'
import { Connection } from './connection'
import { bound, passwordToTry } from './credentials'
import { DirectoryError, directoryError } from './directory-error'
import { secured, tlsOptions } from './tls'

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
  const abort = () => attempt.abort()
  const cancel = guard('end of a connection attempt', abort, abort)
  const startedAt = performance.now()
  // What has come in time is read first, and answered when there was no time for that.
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
  ldap: LdapSettings,
  signal: AbortSignal,
): Promise<Connection> {
  const password = await passwordToTry(ldap)
  const tls = endpoint.tls || ldap.starttls ? await tlsOptions(ldap, endpoint) : undefined
  const tcp = await connected(endpoint, signal)
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
    const { code, diagnostic } = await connection.bind(ldap.bind_dn, password, ldap.connect_timeout)
    bound(ldap, password, code, diagnostic)
    return connection
  } catch (error) {
    connection?.destroy(directoryError(error))
    tcp.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

function connected({ host, port }: Endpoint, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Error('too late'))
    const socket = connect({ host, port, noDelay: true, keepAlive: true })
    socket.setKeepAlive(true, KEEP_ALIVE)
    const giveUp = () => socket.destroy(new Error('too late'))
    const cancel = guard('socket that is not wanted any more', giveUp, giveUp)
    signal.addEventListener('abort', cancel, { once: true })
    const failed = (error: unknown) => {
      signal.removeEventListener('abort', cancel)
      socket.destroy()
      reject(error)
    }
    const ready = () => {
      signal.removeEventListener('abort', cancel)
      socket.removeAllListeners('error')
      // Until the next owner listens; an error without a listener would end the process.
      socket.on('error', () => {})
      resolve(socket)
    }
    socket.once('error', guard('socket to a directory server', failed, failed))
    socket.once('connect', guard('connected directory server', ready, failed))
  })
}

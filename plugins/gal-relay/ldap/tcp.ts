// TCP to a host that may have several addresses, some of them dead. Each is tried a little after
// the one before it, and all attempts go on until one succeeds (RFC 8305 §5). Node itself gives up
// an address after 250 ms, so it would never reach a directory farther away than that.
import { lookup } from 'node:dns/promises'
import { connect, isIP, type Socket } from 'node:net'
import { guard, later } from '../guard'

const KEEP_ALIVE = 30_000
/** RFC 8305 §5: the recommended delay between two attempts, milliseconds. */
const NEXT_AFTER = 250

/** @returns the addresses of a host name, in the order to try them */
export type Resolve = (host: string) => Promise<readonly string[]>

const resolveName: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address)

/** Whether a host is the path of a Unix-domain socket instead. */
export const isSocketPath = (host: string) => host.startsWith('/')

/**
 * @param host a name, an IP address, or the path of a Unix-domain socket
 * @param signal ends the attempt at once
 * @throws Error from the last address that failed, or from the name look-up
 */
export async function connectTo(
  host: string,
  port: number,
  signal: AbortSignal,
  resolve: Resolve = resolveName,
): Promise<Socket> {
  const isAddress = isIP(host) !== 0 || isSocketPath(host)
  const addresses = isAddress ? [host] : await orAborted(resolve(host), signal)
  return firstToConnect(addresses, port, signal)
}

/** A name look-up cannot be cancelled, but nothing waits for it once the signal is aborted. */
function orAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const abort = () => reject(TOO_LATE)
    if (signal.aborted) abort()
    signal.addEventListener('abort', guard('end of a name look-up', abort, abort), { once: true })
  })
  return Promise.race([answer, aborted])
}

const TOO_LATE = new Error('too late')

function firstToConnect(
  addresses: readonly string[],
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const waiting = [...addresses]
    const attempts = new Set<Socket>()
    let failure: unknown = new Error('the name has no address')
    let timer: NodeJS.Timeout | undefined
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', cancel)
      for (const socket of attempts) socket.destroy()
    }
    const giveUp = (error: unknown) => {
      end()
      reject(error)
    }
    const cancel = guard(
      'sockets that are not wanted any more',
      () => giveUp(TOO_LATE),
      () => giveUp(TOO_LATE),
    )
    const tryNext = () => {
      clearTimeout(timer)
      const address = waiting.shift()
      if (address !== undefined) attempt(address)
      else if (attempts.size === 0) giveUp(failure)
    }
    const attempt = (address: string) => {
      const socket = isSocketPath(address)
        ? connect({ path: address })
        : connect({ host: address, port, noDelay: true, keepAlive: true })
      socket.setKeepAlive(true, KEEP_ALIVE)
      attempts.add(socket)
      const failed = (error: unknown) => {
        // Another error from a socket that was given up would end the process if nobody listened.
        if (!attempts.delete(socket)) return
        socket.destroy()
        failure = error
        tryNext()
      }
      const ready = () => {
        attempts.delete(socket)
        socket.removeAllListeners('error')
        // Until the next owner listens: an error without a listener would end the process.
        socket.on('error', () => {})
        end()
        resolve(socket)
      }
      socket.on('error', guard('socket to a directory server', failed, failed))
      socket.once('connect', guard('connected directory server', ready, failed))
      if (waiting.length > 0) {
        timer = later(NEXT_AFTER, 'next address of a directory server', tryNext, giveUp)
      }
    }
    if (signal.aborted) return giveUp(TOO_LATE)
    signal.addEventListener('abort', cancel, { once: true })
    tryNext()
  })
}

// Who reads the list of a directory: by the connections of the directory and the processes of a server.
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { childrenOf } from './processes'
import { startTcpProxy, type TcpProxy } from './tcp-proxy'

/** Bytes that only the search for the list and its changes has (RFC 4533 §2.2). */
const OF_THE_LIST = ['1.3.6.1.4.1.4203.1.9.1.1', 'proxyAddresses']

export interface WatchedDirectory extends TcpProxy {
  /** Connections over which the list is read or followed: open now, most at a time, total. */
  readonly readers: { readonly now: number; readonly most: number; readonly inAll: number }
}

/** @param port of a directory with the overlay syncprov */
export async function watchDirectory(port: number): Promise<WatchedDirectory> {
  const open = new Set<Socket>()
  let most = 0
  let inAll = 0
  const onRequest = (bytes: Buffer, client: Socket) => {
    if (open.has(client) || !OF_THE_LIST.every((text) => bytes.includes(text))) return
    open.add(client)
    client.once('close', () => open.delete(client))
    inAll++
    most = Math.max(most, open.size)
  }
  const proxy = await startTcpProxy(port, { onRequest })
  return Object.defineProperty(proxy, 'readers', {
    get: () => ({ now: open.size, most, inAll }),
  }) as WatchedDirectory
}

/** The processes by which a server reads a directory. */
export interface ReadingProcesses {
  /** The process that answers mail: the server itself if it is a single process. */
  readonly worker: number
  readonly keeper: number
  readonly reader: number
}

/** @returns `undefined` if another server reads it */
export function readingProcesses(server: number): ReadingProcesses | undefined {
  const workers = [server, ...childrenOf(server)]
  for (const worker of workers) {
    for (const keeper of syncProcessesOf(worker)) {
      const [reader] = syncProcessesOf(keeper)
      if (reader) return { worker, keeper, reader }
    }
  }
  return undefined
}

function syncProcessesOf(pid: number): number[] {
  try {
    return childrenOf(pid).filter(isSyncProcess)
  } catch {
    // It has ended.
    return []
  }
}

function isSyncProcess(pid: number): boolean {
  try {
    // A zombie has no command line.
    return /sync/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
  } catch {
    return false
  }
}

export interface SharedList {
  /** The port of the directory, on 127.0.0.1. */
  readonly port: number
  readonly base: string
  readonly keyFile: string
  /** A URL. */
  readonly redis: string
  readonly changesEvery?: string
}

/** The settings of a server that shares the list of a directory with others. */
export const sharedListIni = ({ port, base, keyFile, redis, changesEvery = '2s' }: SharedList) =>
  `[routes]
example.com = inbound
[gal]
mode = snapshot
[ldap]
url[] = ldap://127.0.0.1:${port}
base = ${base}
[snapshot]
changes_every = ${changesEvery}
share = redis
key_file = ${keyFile}
[redis]
url = ${redis}
`

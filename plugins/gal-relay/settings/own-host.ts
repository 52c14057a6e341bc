// Who we are on the network: our names, addresses and listeners. Mail is never relayed to them.
import { isIP } from 'node:net'
import { hostname, networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'
import type { NextHop } from '../routing/routes'
import { ownName, readIniFile } from './haraka-files'

export interface OwnHost {
  /** The name by which we call ourselves. */
  readonly name: string
  /** Lower case. */
  readonly names: ReadonlySet<string>
  readonly addresses: ReadonlySet<string>
  readonly listeners: readonly Listener[]
}

export interface Listener {
  /** IP address; `0.0.0.0` and `::` mean all addresses. */
  readonly host: string
  readonly port: number
}

/** From `config/me`, `config/smtp.ini` and the network interfaces. */
export function ownHost(config: Haraka.Config): OwnHost {
  const { main = {} } = readIniFile(config, 'smtp.ini')
  const interfaces = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  const listeners = listenersOf(main)
  const addresses = [
    ...interfaces.map(({ address }) => address),
    ...listeners.map(({ host }) => host),
    String(main.public_ip ?? ''),
  ]
  const name = ownName(config)
  return {
    name,
    names: new Set([name, hostname()].map((one) => one.toLowerCase())),
    addresses: new Set(addresses.filter((address) => address && !isAll(address))),
    listeners,
  }
}

/** As Haraka reads them: `listen`, and `listen_host` and `port` before 3.0; by default port 25 of all. */
function listenersOf(main: Readonly<Record<string, unknown>>): Listener[] {
  const listeners = String(main.listen ?? '')
    .split(/\s*,\s*/)
    .flatMap((text) => parseListener(text) ?? [])
  if (main.port) {
    listeners.push({ host: bare(String(main.listen_host ?? '::')), port: Number(main.port) })
  }
  return listeners.length > 0 ? listeners : [{ host: '::', port: 25 }]
}

function parseListener(text: string): Listener | undefined {
  const [, ipv6, other, port] = /^(?:\[([^\]]*)\]|([^:/]+))(?::(\d+))?$/.exec(text) ?? []
  const host = ipv6 ?? other
  return host ? { host: bare(host), port: Number(port ?? 25) } : undefined
}

/** One spelling of an address: Haraka writes `[::0]` for all; `::ffff:127.0.0.1` is 127.0.0.1. */
function bare(host: string): string {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase()
  return isIP(name) ? ipaddr.process(name).toString() : name
}

const isAll = (host: string) => host === '::' || host === '0.0.0.0'
const isLoopback = (host: string) => /^127\.|^::1$/.test(host)

/**
 * @returns our listener, such as `127.0.0.1:25`, if the next hop is one of ours; `undefined` if it is not,
 *   as far as that can be told without DNS
 */
export function ownListener(own: OwnHost, hop: NextHop): string | undefined {
  const host = bare(hop.host)
  const local = host === 'localhost' || own.names.has(host)
  const listener = own.listeners.find((one) => {
    if (one.port !== hop.port) return false
    if (one.host === host) return true
    if (!isAll(one.host)) return local && (isLoopback(one.host) || own.names.has(host))
    return local || isLoopback(host) || own.addresses.has(host)
  })
  return (
    listener &&
    `${listener.host.includes(':') ? `[${listener.host}]` : listener.host}:${listener.port}`
  )
}

// The defaults for a question that names no client or no listener: somebody on the internet, who
// connects where mail comes in.
import { type IpAddress, parseIp } from '../routing/networks'
import type { Restrictions } from '../routing/restrictions'
import type { OwnHost } from '../settings/own-host'
import { canonicalAddress, policyFor, type Settings } from '../settings/settings'

const MAIL_PORT = 25

/** Addresses that no host has (RFC 5737). */
const NOBODYS = ['192.0.2.1', '198.51.100.1', '203.0.113.1'] as const

/**
 * The first listener on port 25, or else the first listener. If it listens on all addresses, one of the
 * machine's addresses at which not everybody may relay, if there is one.
 *
 * @returns `10.0.0.5:25`, `[2001:db8::5]:25`
 */
export function usualListener(own: OwnHost, settings: Settings): string {
  const { listeners } = own
  const { host, port } = listeners.find((one) => one.port === MAIL_PORT) ??
    listeners[0] ?? { host: '::', port: MAIL_PORT }
  const address = isOne(host) ? host : localAddressOf(own, settings, port)
  return `${address.includes(':') ? `[${address}]` : address}:${port}`
}

const isOne = (host: string) =>
  canonicalAddress(host) !== undefined && host !== '::' && host !== '0.0.0.0'

function localAddressOf({ addresses }: OwnHost, settings: Settings, port: number): string {
  const all = [...addresses]
    .filter((one) => canonicalAddress(one) && !/^(127\.|::1$|fe80:)/i.test(one))
    .sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')))
  const isOutside = (one: string) => {
    const { restrictions } = policyFor(settings, canonicalAddress(one) ?? '', port)
    return !restrictions.localAddresses.has(parseIp(one))
  }
  return all.find(isOutside) ?? all[0] ?? '127.0.0.1'
}

/** @returns an address that neither `hosts[]` nor `never[]` names, if possible */
export function strangerTo(restrictions: Restrictions | undefined): string {
  const isNamed = (ip: IpAddress) => restrictions?.hosts.has(ip) || restrictions?.never.has(ip)
  const stranger = NOBODYS.find((one) => {
    const ip = parseIp(one)
    return ip && !isNamed(ip)
  })
  return stranger ?? NOBODYS[0]
}

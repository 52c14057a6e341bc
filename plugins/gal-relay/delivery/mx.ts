// The MX hosts of a domain that we are a backup for: only those preferred to ourselves. With the others we
// would send mail to ourselves, or to a backup that sends it back (RFC 5321 §5.1).
import { isIP } from 'node:net'
import { lookupFailure, mxAddresses, mxsOf } from '../haraka/internals'
import type { OwnHost } from '../settings/own-host'

export type MxHosts =
  | { readonly mxs: readonly Haraka.Mx[] }
  /** No host, now or ever. */
  | { readonly temporary: boolean; readonly reason: string }

/** @param domain A-label or address literal */
export async function mxBeforeUs(
  outbound: Haraka.Outbound,
  own: OwnHost,
  domain: string,
): Promise<MxHosts> {
  const found = await mxHosts(outbound, domain)
  if ('reason' in found) return found
  const hosts = await Promise.all(found.mxs.map((mx) => mxHostOf(outbound, mx)))
  const ourselves = hosts.filter(({ mx, addresses }) => isOwn(own, mx, addresses))
  const ours = Math.min(...ourselves.map(({ mx }) => mx.priority))
  const better = hosts.filter(({ mx }) => mx.priority < ours)
  if (better.length === 0) {
    const reason = `no MX host of ${domain} has a better preference than this host; add a host to its row`
    return { temporary: true, reason }
  }
  const mxs = better
    .map((host) => ({ ...host, order: Math.random() }))
    .sort((a, b) => a.mx.priority - b.mx.priority || a.order - b.order)
    .flatMap(({ addresses }) => addresses)
  if (mxs.length > 0) return { mxs }
  return { temporary: true, reason: `no address was found for the MX hosts of ${domain}` }
}

async function mxHosts(outbound: Haraka.Outbound, domain: string): Promise<MxHosts> {
  const literal = domain.replace(/^\[(ipv6:)?|\]$/gi, '')
  if (isIP(literal)) return { mxs: [{ exchange: literal, priority: 0 }] }
  let mxs: readonly Haraka.Mx[]
  try {
    mxs = await mxsOf(outbound, domain)
  } catch (error) {
    return { temporary: true, reason: `the MX hosts of ${domain} could not be looked up: ${error}` }
  }
  if (mxs.some(({ exchange }) => exchange === '')) {
    return { temporary: false, reason: `${domain} takes no mail (null MX)` }
  }
  if (mxs.length > 0) return { mxs }
  // Haraka falls back to the domain's own addresses, and treats a failed look-up as no address.
  const failed = await lookupFailure(outbound, domain)
  return failed
    ? { temporary: true, reason: `the addresses of ${domain} could not be looked up: ${failed}` }
    : { temporary: false, reason: `${domain} has neither MX hosts nor addresses` }
}

interface MxHost {
  readonly mx: Haraka.Mx
  readonly addresses: readonly Haraka.Mx[]
}

async function mxHostOf(outbound: Haraka.Outbound, mx: Haraka.Mx): Promise<MxHost> {
  return { mx, addresses: await mxAddresses(outbound, mx) }
}

function isOwn(own: OwnHost, mx: Haraka.Mx, addresses: readonly Haraka.Mx[]): boolean {
  const name = mx.exchange?.toLowerCase() ?? ''
  return own.names.has(name) || addresses.some(({ exchange = '' }) => own.addresses.has(exchange))
}

// What the rules need to know of a connection, read from Haraka's objects once for each.
import type { Client } from '../routing/decide'
import { parseIp } from '../routing/networks'
import { trustByAddress, trustOf } from '../routing/restrictions'
import { observesRecipients } from '../settings/enforcement'
import {
  canonicalAddress,
  type ListenerPolicy,
  policyFor,
  type Settings,
} from '../settings/settings'
import { state } from './state'

/** What holds for a connection, for as long as its addresses, its account and the settings stay the same. */
export interface Session {
  readonly settings: Settings
  /** Haraka's note of the PROXY line that the addresses are from. */
  readonly proxy: unknown
  readonly remoteIp: string | null | undefined
  readonly account: string | undefined
  readonly ip: string
  readonly port: number
  readonly policy: ListenerPolicy
  readonly client: Client
}

/** Somewhere a verdict is only observed. */
export const observesAnywhere = ({ policies }: Settings) =>
  [...policies.values()].some(observesRecipients)

const SESSION = Symbol('gal-relay: session')

type Known = Haraka.Connection & { [SESSION]?: Session }

/** What held when a hook last asked. */
export const lastSession = (connection: Known) => connection[SESSION]

export function sessionOf(connection: Known): Session {
  const { local, remote, client: socket, notes } = connection
  const account = accountOf(connection)
  // XCLIENT without DESTADDR and DESTPORT leaves no local address: the socket still has one.
  const ip = local.ip ?? socket.localAddress ?? ''
  const port = local.port ?? socket.localPort ?? 0
  const known = connection[SESSION]
  if (
    known?.settings === state.settings &&
    known.remoteIp === remote.ip &&
    known.account === account &&
    known.ip === ip &&
    known.port === port
  ) {
    return known
  }
  const policy = policyFor(state.settings, canonicalAddress(ip) ?? '', port)
  const { restrictions } = policy
  const byAddress = trustByAddress(restrictions, parseIp(remote.ip), parseIp(ip))
  const session: Session = {
    settings: state.settings,
    proxy: notes.proxy,
    remoteIp: remote.ip,
    account,
    ip,
    port,
    policy,
    client: { trust: trustOf(restrictions, byAddress, account), authenticated: Boolean(account) },
  }
  connection[SESSION] = session
  return session
}

export function accountOf({ notes, xclient, remote }: Haraka.Connection): string | undefined {
  return notes.auth_user || (xclient && remote.login) || undefined
}

/** Writes it only when it changes: each transaction would else have a `relaying` of its own. */
export function setRelaying(connection: Haraka.Connection, relaying: boolean): void {
  if (connection.relaying !== relaying) connection.relaying = relaying
}

export function listenerOf({ local }: Haraka.Connection): string {
  return `${local.ip}:${local.port}`
}

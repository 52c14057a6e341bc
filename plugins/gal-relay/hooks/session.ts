// What the rules need to know of a connection, read from Haraka's objects once for each.
import type { Pass } from '../delivery/loops'
import { addressOf } from '../haraka/internals'
import type { RefusalFields } from '../report/refusal'
import type { Client } from '../routing/decide'
import { parseIp } from '../routing/networks'
import { trustByAddress, trustOf } from '../routing/restrictions'
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
  /**
   * What all that is told of a transaction begins with: of the last one with something to tell. By its
   * uuid, since the transaction leads back to the connection.
   */
  told: { readonly uuid: string; readonly fields: RefusalFields } | undefined
}

/** The plugin's verdict is the answer. */
export const decidesOn = ({ enabled, enforce }: ListenerPolicy) => enabled && enforce

/** Somewhere a verdict is only observed. */
export const observesAnywhere = ({ policies }: Settings) =>
  [...policies.values()].some(({ enabled, enforce }) => enabled && !enforce)

const sessions = new WeakMap<Haraka.Connection, Session>()

/** What held when a hook last asked. */
export const lastSession = (connection: Haraka.Connection) => sessions.get(connection)

export function sessionOf(connection: Haraka.Connection): Session {
  const { local, remote, client: socket, notes } = connection
  const account = accountOf(connection)
  // XCLIENT without DESTADDR and DESTPORT leaves no local address: the socket still has one.
  const ip = local.ip ?? socket.localAddress ?? ''
  const port = local.port ?? socket.localPort ?? 0
  const known = sessions.get(connection)
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
    told: undefined,
  }
  sessions.set(connection, session)
  return session
}

export function accountOf({ notes, xclient, remote }: Haraka.Connection): string | undefined {
  return notes.auth_user || (xclient && remote.login) || undefined
}

export function passOf(connection: Haraka.Connection, { mail_from }: Haraka.Transaction): Pass {
  return { listener: listenerOf(connection), sender: addressOf(mail_from) }
}

export function listenerOf({ local }: Haraka.Connection): string {
  return `${local.ip}:${local.port}`
}

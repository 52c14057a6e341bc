// What the rules need to know of a connection, read from Haraka's objects once for each.
import type { Pass } from '../delivery/loops'
import type { Client } from '../routing/decide'
import { parseIp } from '../routing/networks'
import { type Trust, trustByAddress, trustOf } from '../routing/restrictions'
import {
  canonicalAddress,
  type ListenerPolicy,
  policyFor,
  type Settings,
} from '../settings/settings'
import { state } from './state'

/** What holds for a connection, for as long as its addresses and the settings stay the same. */
export interface Session {
  readonly settings: Settings
  /** Haraka's note of the PROXY line that the addresses are from. */
  readonly proxy: unknown
  readonly client: string | null | undefined
  readonly ip: string
  readonly port: number
  readonly policy: ListenerPolicy
  readonly byAddress: Trust | undefined
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
  const { local, remote, client, notes } = connection
  // XCLIENT without DESTADDR and DESTPORT leaves no local address: the socket still has one.
  const ip = local.ip ?? client.localAddress ?? ''
  const port = local.port ?? client.localPort ?? 0
  const known = sessions.get(connection)
  if (
    known?.settings === state.settings &&
    known.client === remote.ip &&
    known.ip === ip &&
    known.port === port
  ) {
    return known
  }
  const policy = policyFor(state.settings, canonicalAddress(ip) ?? '', port)
  const session: Session = {
    settings: state.settings,
    proxy: notes.proxy,
    client: remote.ip,
    ip,
    port,
    policy,
    byAddress: trustByAddress(policy.restrictions, parseIp(remote.ip), parseIp(ip)),
  }
  sessions.set(connection, session)
  return session
}

export function clientOf({ policy, byAddress }: Session, connection: Haraka.Connection): Client {
  const account = accountOf(connection)
  return {
    trust: trustOf(policy.restrictions, byAddress, account),
    authenticated: Boolean(account),
  }
}

export function accountOf({ notes, xclient, remote }: Haraka.Connection): string | undefined {
  return notes.auth_user || (xclient && remote.login) || undefined
}

export function passOf(connection: Haraka.Connection, { mail_from }: Haraka.Transaction): Pass {
  return { listener: listenerOf(connection), sender: mail_from.address }
}

export function listenerOf({ local }: Haraka.Connection): string {
  return `${local.ip}:${local.port}`
}

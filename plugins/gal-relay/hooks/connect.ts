// The connect hook, and what the rules need to know about a connection, computed once for each.
import { stamped } from '../delivery/loops'
import { changeReceivedLine } from '../haraka/internals'
import type { Counted } from '../harvest/defence'
import type { Question } from '../routing/answer'
import { type Client, HELD_OFF } from '../routing/decide'
import { parseIp } from '../routing/networks'
import type { Recipient } from '../routing/recipient'
import { trustByAddress, trustOf } from '../routing/restrictions'
import { answersAny, decidesRecipients, decidesRelaying } from '../settings/enforcement'
import {
  canonicalAddress,
  type ListenerPolicy,
  policyFor,
  type Settings,
} from '../settings/settings'
import { dsnOf, guarded } from './reply'
import { type LocalPolicy, state } from './start'

/** Valid for a connection until its addresses, its account or the settings change. */
export interface Session {
  readonly settings: Settings
  /** Haraka's note of the PROXY line that gave the addresses. */
  readonly proxy: unknown
  readonly remoteIp: string | null | undefined
  readonly account: string | undefined
  readonly ip: string
  readonly port: number
  readonly policy: ListenerPolicy
  readonly client: Client
  /** Policy and client in the form that the rules take. */
  readonly question: Question
  /** The network that harvest defence counts the client as; undefined if it does not count it. */
  readonly counted: Counted | undefined
}

const SESSION = Symbol('gal-relay: session')

type WithSession = Haraka.Connection & { [SESSION]?: Session }

// The connect hook runs again when XCLIENT replaces the addresses. Haraka takes a PROXY line at any
// time from a connection that began with one, and all but the first are the client's own.
export const trust_client = guarded((next, connection: WithSession) => {
  const former = connection[SESSION]
  const { proxy, policy, counted } = sessionOf(connection)
  const isForged = former !== undefined && former.proxy !== proxy
  if (isForged && (decidesRelaying(former.policy) || decidesRelaying(policy))) {
    return next(DENYDISCONNECT, 'PROXY is allowed on the first line only')
  }
  // Where authentication lets a client relay, it is too early to tell who the client is.
  const mayBeHeldOff = counted && !policy.restrictions.authenticated
  if (mayBeHeldOff && state.harvest?.defence?.isHeldOff(counted, 'connect')) {
    return next(DENYSOFTDISCONNECT, dsnOf(HELD_OFF.reply))
  }
  // Haraka makes the line before the data hooks.
  if (answersAny(policy)) changeReceivedLine(connection, addStamp)
  if (!decidesRelaying(policy)) return next()
  if (connection.xclient) delete connection.notes.auth_user
  if (sessionOf(connection).client.trust.mayRelay) connection.relaying = true
  return next()
})

const addStamp = (line: string) => stamped(line, state.loopStamp)

export function sessionOf(connection: WithSession): Session {
  const { local, remote, client: socket, notes } = connection
  const account = accountOf(connection)
  // XCLIENT without DESTADDR and DESTPORT clears the local address; the socket still has one.
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
  const { policy, address } = policyAt(ip, port)
  const { restrictions } = policy
  const remoteIp = parseIp(remote.ip)
  const byAddress = trustByAddress(restrictions, remoteIp, address)
  const client = {
    trust: trustOf(restrictions, byAddress, account),
    authenticated: Boolean(account),
  }
  const mayBeCounted = policy.enabled && !client.trust.mayRelay && !client.authenticated
  const session: Session = {
    settings: state.settings,
    proxy: notes.proxy,
    remoteIp: remote.ip,
    account,
    ip,
    port,
    policy,
    client,
    question: { policy, client, lookup: askLists },
    counted: mayBeCounted
      ? state.harvest?.defence?.counted(remoteIp, !decidesRecipients(policy))
      : undefined,
  }
  connection[SESSION] = session
  return session
}

/** A reload may have replaced the lists since the connection began. */
const askLists = (recipient: Recipient) => state.lists.lookup(recipient)

/** A server has few addresses, but a proxy may send any. */
const MOST_POLICIES = 1000

function policyAt(ip: string, port: number): LocalPolicy {
  const { policies, settings } = state
  const key = `${ip} ${port}`
  const known = policies.get(key)
  if (known) return known
  const policy = policyFor(settings, canonicalAddress(ip) ?? '', port)
  const found = { policy, address: parseIp(ip) }
  if (policies.size >= MOST_POLICIES) policies.clear()
  policies.set(key, found)
  return found
}

function accountOf({ notes, xclient, remote }: Haraka.Connection): string | undefined {
  return notes.auth_user || (xclient && remote.login) || undefined
}

/** Sets `relaying` to what the rules say, whatever another plugin has set. */
export function trustAgain(connection: Haraka.Connection, { policy, client }: Session): void {
  if (decidesRelaying(policy)) setRelaying(connection, client.trust.mayRelay)
}

/** Writes only changes; otherwise each transaction would get a `relaying` of its own. */
export function setRelaying(connection: Haraka.Connection, relaying: boolean): void {
  if (connection.relaying !== relaying) connection.relaying = relaying
}

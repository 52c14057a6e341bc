// Who may relay? The Routing Restrictions dialog as a list of rules; the first that applies decides
// (Q193922, Q196626, Q260562). The rules that look at addresses come first, so they can be evaluated
// once for each connection.
import type { IpAddress, NetworkList } from './networks'

export interface Restrictions {
  /** false: "Do not reroute incoming SMTP mail" (Q237927). */
  readonly reroute: boolean
  /** "Hosts and clients that can NEVER route mail". */
  readonly never: NetworkList
  readonly hosts: NetworkList
  /** "Hosts and clients connecting to these internal addresses". */
  readonly localAddresses: NetworkList
  /** "Hosts and clients that successfully authenticate". */
  readonly authenticated: boolean
  /** Lower case (Q251149). */
  readonly neverAccounts: ReadonlySet<string>
  /** Whether an open relay was asked for explicitly. */
  readonly open: boolean
}

/** The rules by which a client may relay. */
export type AllowingTrust = 'hosts' | 'local-addresses' | 'authenticated' | 'open'
/** The rules by which a client may not relay. */
export type DenyingTrust = 'reroute-off' | 'never' | 'nobody'

/** Whether the client may relay, and the rule that decided. */
export type Trust =
  | { readonly mayRelay: true; readonly rule: AllowingTrust }
  | { readonly mayRelay: false; readonly rule: DenyingTrust }

const allowed = (rule: AllowingTrust): Trust => Object.freeze({ mayRelay: true, rule })
const denied = (rule: DenyingTrust): Trust => Object.freeze({ mayRelay: false, rule })
const REROUTE_OFF = denied('reroute-off')
const NEVER = denied('never')
const HOSTS = allowed('hosts')
const LOCAL_ADDRESSES = allowed('local-addresses')
const AUTHENTICATED = allowed('authenticated')
const OPEN = allowed('open')
const NOBODY = denied('nobody')

/** The trust in a client if other plugins decide who may relay and these rules are only observed. */
export const trustByOthers = (mayRelay: boolean): Trust => (mayRelay ? OPEN : NOBODY)

/**
 * Rules 1 to 4, which depend on addresses alone.
 *
 * @returns undefined if none of them applies
 */
export function trustByAddress(
  restrictions: Restrictions,
  client: IpAddress | undefined,
  local: IpAddress | undefined,
): Trust | undefined {
  if (!restrictions.reroute) return REROUTE_OFF
  // A client whose address is unknown may be a host in never[].
  if (!client || restrictions.never.has(client)) return NEVER
  if (restrictions.hosts.has(client)) return HOSTS
  if (restrictions.localAddresses.has(local)) return LOCAL_ADDRESSES
  return undefined
}

/**
 * Applies all seven rules.
 *
 * @param byAddress what {@link trustByAddress} returned
 * @param account the account the client has authenticated as, if it has
 */
export function trustOf(
  restrictions: Restrictions,
  byAddress: Trust | undefined,
  account: string | undefined,
): Trust {
  if (byAddress) return byAddress
  if (restrictions.authenticated && account && !isNeverAccount(restrictions, account)) {
    return AUTHENTICATED
  }
  return restrictions.open ? OPEN : NOBODY
}

// An account with a domain is the same account: CORP\guest and guest@corp.example are guest.
function isNeverAccount({ neverAccounts }: Restrictions, account: string): boolean {
  const full = account.trim().toLowerCase()
  const name = full.replace(/^.*\\/, '').replace(/@.*$/, '')
  return neverAccounts.has(full) || neverAccounts.has(name)
}

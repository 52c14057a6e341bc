// Who may relay on each listener: the exact set, derived from the rules rather than by trial, so
// that it can be audited. A client may relay because of its own address, the local address that it
// connected to, or the account that it has authenticated as (see routing/restrictions for the
// rules).
import { type AddressSet, AddressSpace, ALL, type Block, NONE } from '../routing/address-set'
import {
  type IpAddress,
  type Network,
  networkList,
  parseNetwork,
  toText,
} from '../routing/networks'
import type { Restrictions } from '../routing/restrictions'
import type { ListenerPolicy } from '../settings/settings'

/** The part of a listener's settings that this depends on. */
export type RelayPolicy = Pick<ListenerPolicy, 'name' | 'enabled' | 'enforce' | 'restrictions'>

/** Consecutive addresses; or, with `mask`, those for which `(address AND mask) = net`. */
export interface AddressBlock {
  readonly family: 4 | 6
  readonly first: string
  readonly last: string
  /** `192.168.1.0/24` if the block is one network; `net;mask` if its mask has gaps. */
  readonly network: string | undefined
  readonly addresses: bigint
  /** Whether it holds more of the internet than any single network does. */
  readonly internet: boolean
}

export interface Clients {
  readonly blocks: readonly AddressBlock[]
  readonly ipv4: bigint
  readonly ipv6: bigint
}

export interface RelayReport {
  /** The name of the listener's settings: `*:*`, `*:587`, `10.0.0.5:25`. */
  readonly listener: string
  /** Whether the plugin takes part there; if not, other plugins say who may relay. */
  readonly enabled: boolean
  /** `false` if the plugin only observes there; this is who may relay once it is enforced. */
  readonly enforced: boolean
  /** The rule that applies to every client, if there is one. */
  readonly rule: 'reroute-off' | 'open' | 'local-addresses' | undefined
  /** The clients that may relay, whatever local address they connected to. */
  readonly clients: Clients
  /** Any client except those in `never` may relay if it connects to one of these. */
  readonly local_addresses: readonly LocalAddresses[]
  /** Any client with an account may relay, except those in `never`. */
  readonly accounts: { readonly never: readonly string[] } | undefined
  readonly never: Clients
  /** Whether more of the internet may relay than any single network holds. */
  readonly internet: boolean
}

export interface LocalAddresses {
  readonly network: string
  /** Whether clients on the internet can connect to any of these addresses directly. */
  readonly internet: boolean
}

/**
 * @param local the listener's own address, if known: local_addresses[] then applies or it does not, and
 *   `clients` has the answer
 */
export function whoMayRelay(policy: RelayPolicy, local: IpAddress | undefined): RelayReport {
  const { name: listener, enabled, restrictions } = policy
  const { open, localAddresses, authenticated, neverAccounts } = restrictions
  const takesPart = enabled && restrictions.reroute
  const byLocal = takesPart && !open && localAddresses.has(local)
  const everybody = byLocal || (takesPart && open)
  const families = FAMILIES.map((family) => setsOf(family, restrictions, takesPart, everybody))
  const locals = takesPart && !open && !local ? localAddresses.entries.map(localAddressesOf) : []
  // A client can be on the internet only if the internet can connect to the listener.
  const reachable = !byLocal || isPublic(local)
  return {
    listener,
    enabled,
    enforced: policy.enforce !== false,
    rule: ruleOf(policy, byLocal),
    clients: clientsOf(families, 'clients'),
    local_addresses: locals,
    accounts: takesPart && authenticated && !everybody ? { never: [...neverAccounts] } : undefined,
    never: clientsOf(families, 'never'),
    internet:
      (reachable && families.some((family) => isInternet(family, family.clients))) ||
      locals.some(({ internet }) => internet),
  }
}

function ruleOf({ enabled, restrictions }: RelayPolicy, byLocal: boolean): RelayReport['rule'] {
  if (!enabled) return undefined
  if (!restrictions.reroute) return 'reroute-off'
  if (restrictions.open) return 'open'
  return byLocal ? 'local-addresses' : undefined
}

// IANA's special-purpose and multicast addresses, which no host on the internet has.
const NOT_PUBLIC = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16'],
  ...['172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'],
  ...['::/3', '2001:db8::/32', '4000::/2', '8000::/1'],
]
  .map(parseNetwork)
  .filter((network): network is Network => !('problem' in network))

const FAMILIES = [4, 6] as const
const BITS = { 4: 32, 6: 128 } as const
/** A /8 of IPv4, or a /12 of IPv6, which IANA allocates to a whole continent. */
const ONE_NETWORK = { 4: 1n << 24n, 6: 1n << 116n } as const

interface Family {
  readonly family: 4 | 6
  readonly space: AddressSpace
  readonly never: AddressSet
  readonly clients: AddressSet
  readonly notPublic: AddressSet
}

function setsOf(
  family: 4 | 6,
  restrictions: Restrictions,
  takesPart: boolean,
  everybody: boolean,
): Family {
  const space = new AddressSpace(family)
  const never = space.of(restrictions.never.entries)
  const hosts = everybody ? ALL : space.of(takesPart ? restrictions.hosts.entries : [])
  const clients = space.minus(hosts, never)
  return { family, space, never, clients, notPublic: space.of(NOT_PUBLIC) }
}

function clientsOf(families: readonly Family[], which: 'clients' | 'never'): Clients {
  const blocks = families.flatMap((family) =>
    family.space.blocks(family[which]).map((block) => addressBlock(family, block)),
  )
  const size = (of: 4 | 6) =>
    blocks.reduce((sum, { family, addresses }) => (family === of ? sum + addresses : sum), 0n)
  return { blocks, ipv4: size(4), ipv6: size(6) }
}

function isInternet({ family, space, notPublic }: Family, set: AddressSet): boolean {
  return space.size(space.minus(set, notPublic)) > ONE_NETWORK[family]
}

function addressBlock(of: Family, block: Block): AddressBlock {
  const { family, space } = of
  const { size, first, last } = block
  const large = size > ONE_NETWORK[family]
  return {
    family,
    first: toText(family, first),
    last: toText(family, last),
    network:
      block.mask === undefined
        ? networkText(family, first, size)
        : `${toText(family, first)};${toText(family, block.mask)}`,
    addresses: size,
    internet: large && isInternet(of, space.ofBlock(block)),
  }
}

function networkText(family: 4 | 6, first: bigint, size: bigint): string | undefined {
  const isNetwork = (size & (size - 1n)) === 0n && first % size === 0n
  return isNetwork
    ? `${toText(family, first)}/${BITS[family] + 1 - size.toString(2).length}`
    : undefined
}

function localAddressesOf(network: Network): LocalAddresses {
  const space = new AddressSpace(network.family)
  const publicOnes = space.minus(space.of([network]), space.of(NOT_PUBLIC))
  return { network: network.text, internet: publicOnes !== NONE }
}

function isPublic(address: IpAddress | undefined): boolean {
  return address !== undefined && !networkList(NOT_PUBLIC).has(address)
}

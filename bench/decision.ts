// What a decision costs: `npm run bench -- decision`. Measures function calls that go through routes,
// restrictions and a list of a million recipients in memory, with short and long lists of routes and
// networks.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { IN_LIST } from '../plugins/gal-relay/gal/snapshot/address-table'
import { Follower } from '../plugins/gal-relay/gal/snapshot/follower'
import {
  decide,
  decideListed,
  destinationOf,
  type Listing,
  type RoutingPolicy,
} from '../plugins/gal-relay/routing/decide'
import { localParts } from '../plugins/gal-relay/routing/local-parts'
import {
  type IpAddress,
  type Network,
  networkList,
  parseIp,
  parseNetwork,
} from '../plugins/gal-relay/routing/networks'
import { recipientOf } from '../plugins/gal-relay/routing/recipient'
import {
  type Restrictions,
  trustByAddress,
  trustOf,
} from '../plugins/gal-relay/routing/restrictions'
import {
  parseRouteTo,
  parseSentTo,
  type Row,
  routeTable,
} from '../plugins/gal-relay/routing/routes'
import { DOMAIN, FINGERPRINT, localPart, writeList } from './memory'
import type { Sizes } from './sizes'
import { table } from './table'

const ROUNDS = 7

function given<T extends object>(parsed: T | { readonly problem: string }): T {
  if ('problem' in parsed) throw new Error(String(parsed.problem))
  return parsed
}

function policyWith(routes: number): RoutingPolicy {
  const rows = Array.from({ length: routes }, (_, n): Row => {
    const text = n === 0 ? 'corp.example' : `sub${n}.domain${n % 1000}.example`
    return { text, sentTo: given(parseSentTo(text)), routeTo: given(parseRouteTo('inbound')) }
  })
  return {
    reroute: true,
    routes: routeTable(rows),
    hostList: new Set(),
    anyDomain: false,
    alwaysAccept: localParts(['postmaster']),
    mailboxHosts: new Map(),
    isOwn: () => false,
    delimitersFor: () => '',
  }
}

/** Networks of eight different sizes. */
function restrictionsWith(entries: number): Restrictions {
  const networks = Array.from({ length: entries }, (_, n): Network => {
    const bits = 32 - (n % 8)
    const ip = (((n + 1) << 8) >>> 0) & (2 ** 32 - 2 ** (32 - bits))
    const text = [24, 16, 8, 0].map((shift) => (ip >>> shift) & 255).join('.')
    return given(parseNetwork(`${text}/${bits}`))
  })
  const none = networkList([])
  return {
    reroute: true,
    never: none,
    hosts: networkList(networks),
    localAddresses: none,
    authenticated: true,
    neverAccounts: new Set(['guest']),
    open: false,
  }
}

const ABSENT: Listing = { state: 'absent' }
const LISTED: Listing = { state: 'found', authenticatedOnly: false }
const LISTED_AUTHENTICATED: Listing = { state: 'found', authenticatedOnly: true }

/** @returns nanoseconds per decision, the median of several rounds */
function measure(
  follower: Follower,
  policy: RoutingPolicy,
  restrictions: Restrictions,
  { large, decisions }: Sizes,
): number {
  const ips = Array.from({ length: 1024 }, (_, n): IpAddress | undefined =>
    parseIp(`203.0.${n >> 8}.${n & 255}`),
  )
  const locals = Array.from({ length: 4096 }, (_, n) => {
    return n % 2 === 0 ? localPart((n * 7919) % large) : `nobody.at.all${n}`
  })
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    let accepted = 0
    const begin = process.hrtime.bigint()
    for (let n = 0; n < decisions; n++) {
      const recipient = recipientOf(locals[n & 4095] as string, DOMAIN)
      const byAddress = trustByAddress(restrictions, ips[n & 1023], undefined)
      const client = { trust: trustOf(restrictions, byAddress, undefined), authenticated: false }
      const destination = destinationOf(policy, recipient)
      const found = follower.find(destination.recipient)
      const listing = found < 0 ? ABSENT : found === IN_LIST ? LISTED : LISTED_AUTHENTICATED
      const unasked = decide(policy, destination, client)
      if ((unasked ?? decideListed(policy, destination, client, listing)).accept) accepted++
    }
    times.push(Number(process.hrtime.bigint() - begin) / decisions)
    if (accepted !== decisions / 2) throw new Error(`${accepted} accepted`)
  }
  return times.sort((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN
}

export async function decision(sizes: Sizes): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-'))
  const file = path.join(folder, 'list')
  const quiet = { debug() {}, info() {}, notice() {}, warn() {}, error: console.error }
  await writeList(file, sizes.large)
  const follower = new Follower({ file, fingerprint: FINGERPRINT, currentFor: 60_000, log: quiet })
  await follower.start()
  const rows = sizes.lists.flatMap((routes) =>
    sizes.lists.map((entries) => {
      const took = measure(follower, policyWith(routes), restrictionsWith(entries), sizes)
      return [
        `${routes.toLocaleString('en')} routes`,
        entries.toLocaleString('en'),
        took.toFixed(0),
      ]
    }),
  )
  await follower.close()
  rmSync(folder, { recursive: true })
  table(['', 'hosts[]', 'ns a decision'], rows)
}

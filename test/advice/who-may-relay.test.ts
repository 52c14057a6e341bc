// The set of those who may relay is exact: held against a million decisions of the functions that
// answer mail, most of them at the edges of the set, and against all decisions in small ranges.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  type Clients,
  type RelayPolicy,
  whoMayRelay,
} from '../../plugins/gal-relay/advice/who-may-relay'
import {
  type IpAddress,
  type Network,
  networkList,
  parseIp,
  parseNetwork,
} from '../../plugins/gal-relay/routing/networks'
import {
  type Restrictions,
  trustByAddress,
  trustOf,
} from '../../plugins/gal-relay/routing/restrictions'

type Family = 4 | 6

interface Lists {
  readonly hosts?: readonly string[]
  readonly never?: readonly string[]
  readonly local?: readonly string[]
}

function policyOf(lists: Lists, more: Partial<Restrictions> = {}): RelayPolicy {
  const list = (texts: readonly string[] = []) => networkList(texts.map(networkOf))
  const restrictions: Restrictions = {
    reroute: true,
    hosts: list(lists.hosts),
    never: list(lists.never),
    localAddresses: list(lists.local),
    authenticated: false,
    neverAccounts: new Set(['guest']),
    open: false,
    ...more,
  }
  return { name: '*:*', enabled: true, enforce: true, restrictions }
}

function networkOf(text: string): Network {
  const network = parseNetwork(text)
  if ('problem' in network) throw new Error(`${text}: ${network.problem}`)
  return network
}

function ip(text: string): IpAddress {
  const address = parseIp(text)
  if (!address) throw new Error(text)
  return address
}

const addressOf = (family: Family, bits: bigint): IpAddress =>
  family === 4 ? { family, bits: Number(bits) } : { family, bits }

const onesOf = (family: Family) => (1n << (family === 4 ? 32n : 128n)) - 1n

function decision({ restrictions }: RelayPolicy, client: IpAddress, local?: IpAddress): boolean {
  return trustOf(restrictions, trustByAddress(restrictions, client, local), undefined).mayRelay
}

/** What the report says of an address; the blocks of each family are in order. */
function membership(clients: Clients): (family: Family, bits: bigint) => boolean {
  const of = (family: Family) =>
    clients.blocks
      .filter((block) => block.family === family)
      .map(({ first, last, network }) => {
        const mask = network?.split(';')[1]
        const bitsOf = (text: string) => BigInt(ip(text).bits)
        return {
          first: bitsOf(first),
          last: bitsOf(last),
          mask: mask === undefined ? undefined : bitsOf(mask),
        }
      })
  const blocks = { 4: of(4), 6: of(6) }
  return (family, bits) =>
    blocks[family].some(({ first, last, mask }) =>
      mask === undefined ? first <= bits && bits <= last : (bits & mask) === first,
    )
}

/** A linear congruential generator, so that a failure can be repeated. */
function generator(seed: number) {
  let state = BigInt(seed)
  const bits = (count: number): bigint => {
    let value = 0n
    for (let have = 0; have < count; have += 32) {
      state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n)
      value = (value << 32n) | (state >> 32n)
    }
    return value & ((1n << BigInt(count)) - 1n)
  }
  const below = (limit: number) => Number(bits(32) % BigInt(limit))
  return { bits, below }
}

type Random = ReturnType<typeof generator>

/** Half of them with gaps in the mask; most share their first bits, so that they overlap. */
function randomNetwork(random: Random, family: Family): Network {
  const width = family === 4 ? 32 : 128
  const ones = onesOf(family)
  const free = BigInt(random.below(width + 1))
  let mask = (ones >> free) << free
  if (random.below(2) === 0) {
    for (let holes = random.below(5); holes > 0; holes--)
      mask &= ~(1n << BigInt(random.below(width)))
  }
  const start = family === 4 ? 10n << 24n : 0x20010db8n << 96n
  const few = random.bits(width) & ((1n << BigInt(width / 4)) - 1n)
  const net = (random.below(4) === 0 ? random.bits(width) : start | few) & mask
  return { family, net, mask, text: '' }
}

/** An address at an edge of a network, near it, in it, or anywhere. */
function randomAddress(random: Random, family: Family, networks: readonly Network[]): bigint {
  const width = family === 4 ? 32 : 128
  const ones = onesOf(family)
  const own = networks.filter((network) => network.family === family)
  const network = own[random.below(Math.max(own.length, 1))]
  if (!network || random.below(8) === 0) return random.bits(width)
  const { net, mask } = network
  const inside = net | (random.bits(width) & ~mask & ones)
  const last = net | (~mask & ones)
  const near = [net, last, net - 1n, last + 1n, inside, inside - 1n, inside + 1n]
  const chosen = near[random.below(near.length)] ?? net
  const flipped = random.below(4) === 0 ? chosen ^ (1n << BigInt(random.below(width))) : chosen
  return flipped & ones
}

describe('who may relay', () => {
  test('a million decisions agree with the set', () => {
    const random = generator(193922)
    const rounds = 500
    let agreed = 0
    let allowed = 0
    for (let round = 0; round < rounds; round++) {
      const networks = (count: number) =>
        Array.from({ length: random.below(count) }, () =>
          randomNetwork(random, random.below(3) === 0 ? 6 : 4),
        )
      const hosts = networks(7)
      const never = networks(5)
      const open = random.below(10) === 0
      const policy = policyOf({}, { hosts: networkList(hosts), never: networkList(never), open })
      const { clients } = whoMayRelay(policy, undefined)
      const has = membership(clients)
      for (let sample = 0; sample < 2000; sample++) {
        const family = sample % 3 === 0 ? 6 : 4
        const bits = randomAddress(random, family, [...hosts, ...never])
        const expected = decision(policy, addressOf(family, bits))
        if (has(family, bits) !== expected) {
          assert.fail(`round ${round}: ${family} ${bits.toString(16)} is not ${expected}`)
        }
        agreed++
        if (expected) allowed++
      }
    }
    assert.equal(agreed, 1_000_000)
    assert.ok(allowed > 200_000 && allowed < 800_000, `${allowed} of them may relay`)
  })

  test('as many as are allowed one by one, each in one block', () => {
    const random = generator(258140)
    const start = 10n << 24n
    for (let round = 0; round < 60; round++) {
      const networks = (count: number) =>
        Array.from({ length: 1 + random.below(count) }, (): Network => {
          const mask = (random.bits(12) | ~0xfffn) & 0xffffffffn
          return { family: 4, net: (start | random.bits(12)) & mask, mask, text: '' }
        })
      const hosts = networkList(networks(6))
      const never = networkList(networks(3))
      const policy = policyOf({}, { hosts, never })
      const { clients } = whoMayRelay(policy, undefined)
      let allowed = 0
      for (let bits = start; bits < start + 4096n; bits++) {
        if (decision(policy, addressOf(4, bits))) allowed++
      }
      assert.equal(clients.ipv4, BigInt(allowed))
      assert.equal(
        clients.blocks.reduce((sum, { addresses }) => sum + addresses, 0n),
        clients.ipv4,
      )
      const ends = clients.blocks.map(({ first, last }) => [ip(first).bits, ip(last).bits])
      for (const [i, [first = 0]] of ends.entries()) {
        // Ranges that touch are one.
        if (i > 0) assert.ok(Number(first) > Number(ends[i - 1]?.[1]) + 1)
      }
    }
  })

  const blocksOf = (lists: Lists, more?: Partial<Restrictions>) =>
    whoMayRelay(policyOf(lists, more), undefined).clients.blocks.map(
      ({ first, last, network, addresses }) => `${network ?? `${first} - ${last}`} ${addresses}`,
    )

  test('overlaps are merged, exceptions subtracted, gaps in masks spelled out', () => {
    assert.deepEqual(blocksOf({ hosts: ['192.168.0.0/24', '192.168.1.0/24', '192.168.1.7'] }), [
      '192.168.0.0/23 512',
    ])
    assert.deepEqual(
      blocksOf({
        hosts: ['192.168.1.0;255.255.255.0'],
        never: ['192.168.1.0;255.255.255.248', '192.168.1.128'],
      }),
      ['192.168.1.8 - 192.168.1.127 120', '192.168.1.129 - 192.168.1.255 127'],
    )
    // Q258140's mask: two bits are free.
    assert.deepEqual(blocksOf({ hosts: ['192.168.1.3;255.255.255.123'] }), [
      '192.168.1.3/32 1',
      '192.168.1.7/32 1',
      '192.168.1.131/32 1',
      '192.168.1.135/32 1',
    ])
    assert.deepEqual(blocksOf({ hosts: ['0.0.0.1;0.0.0.1'], never: ['0.0.0.0/1'] }), [
      '128.0.0.1;128.0.0.1 1073741824',
    ])
    assert.deepEqual(blocksOf({ hosts: ['2001:db8::/32'], never: ['2001:db8::/33'] }), [
      '2001:db8:8000::/33 39614081257132168796771975168',
    ])
    assert.deepEqual(blocksOf({ hosts: ['::ffff:192.0.2.0/120'] }), ['192.0.2.0/24 256'])
    assert.deepEqual(blocksOf({ hosts: ['10.0.0.0/8'] }, { reroute: false }), [])
  })

  test('a local address that is known is a matter of yes or no', () => {
    const policy = policyOf({ local: ['10.0.0.5', '198.51.100.0/24'], never: ['192.0.2.0/24'] })
    const general = whoMayRelay(policy, undefined)
    assert.equal(general.clients.ipv4, 0n)
    assert.deepEqual(
      general.local_addresses.map(({ network }) => network),
      ['10.0.0.5', '198.51.100.0/24'],
    )
    const yes = whoMayRelay(policy, ip('10.0.0.5'))
    assert.equal(yes.rule, 'local-addresses')
    assert.equal(yes.clients.ipv4, (1n << 32n) - 256n)
    assert.equal(yes.clients.ipv6, 1n << 128n)
    assert.equal(whoMayRelay(policy, ip('10.0.0.6')).clients.ipv4, 0n)
    assert.ok(decision(policy, ip('203.0.113.9'), ip('10.0.0.5')))
  })

  test('the internet is recognised, in whatever pieces it is let in', () => {
    const internet = (lists: Lists, more?: Partial<Restrictions>, local?: string) =>
      whoMayRelay(policyOf(lists, more), local ? ip(local) : undefined).internet
    assert.equal(internet({ hosts: ['10.0.0.0/8', '192.168.0.0/16', '8.0.0.0/8'] }), false)
    assert.equal(internet({ hosts: ['fd00::/8', '2001:db8::/32', '2620::/13'] }), false)
    assert.equal(internet({ hosts: ['0.0.0.0/1', '128.0.0.0/1'] }), true)
    assert.equal(internet({ hosts: ['0.0.0.1;0.0.0.1'] }), true)
    assert.equal(internet({ hosts: ['2000::/3'] }), true)
    assert.equal(internet({ hosts: ['0.0.0.0/0'], never: ['0.0.0.0/1', '128.0.0.0/1'] }), false)
    assert.equal(internet({}, { open: true }), true)
    assert.equal(internet({}, { open: true, reroute: false }), false)
    assert.equal(internet({ local: ['10.0.0.5'] }), false)
    assert.equal(internet({ local: ['8.8.8.8'] }), true)
    assert.equal(internet({ local: ['8.8.8.8', '10.0.0.5'] }, {}, '10.0.0.5'), false)
    assert.equal(internet({ local: ['8.8.8.8', '10.0.0.5'] }, {}, '8.8.8.8'), true)
  })

  test('accounts', () => {
    const { accounts } = whoMayRelay(policyOf({}, { authenticated: true }), undefined)
    assert.deepEqual(accounts, { never: ['guest'] })
    assert.equal(whoMayRelay(policyOf({}), undefined).accounts, undefined)
  })

  test('long lists', () => {
    const random = generator(100_000)
    const networks = (family: Family, free: bigint) =>
      Array.from({ length: 10_000 }, (): Network => {
        const mask = (onesOf(family) >> free) << free
        return { family, net: random.bits(family === 4 ? 32 : 128) & mask, mask, text: '' }
      })
    const entries = [...networks(4, 4n), ...networks(6, 64n)]
    const policy = policyOf({ hosts: ['0.0.0.0/0', '::/0'] }, { never: networkList(entries) })
    const { clients } = whoMayRelay(policy, undefined)
    const taken = new Set(entries.map(({ family, net }) => `${family} ${net}`))
    const count = (family: Family) =>
      BigInt([...taken].filter((one) => one.startsWith(`${family} `)).length)
    assert.equal(clients.ipv4, (1n << 32n) - (count(4) << 4n))
    assert.equal(clients.ipv6, (1n << 128n) - (count(6) << 64n))
  })
})

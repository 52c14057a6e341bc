// Lists of IPv4 and IPv6 networks, as in the Routing Restrictions dialog (Q193922, Q258140): an entry
// matches if (client AND mask) = net, and the mask need not be contiguous. A list groups its entries by
// mask, so a match costs one look-up for each distinct mask, however many entries there are.
import ipaddr from 'ipaddr.js'

/** An IPv4-mapped IPv6 address counts as the IPv4 address that it contains. */
export type IpAddress =
  | { readonly family: 4; readonly bits: number }
  | { readonly family: 6; readonly bits: bigint }

/** One entry. `net` has no bits outside `mask`. */
export interface Network {
  readonly family: 4 | 6
  readonly net: bigint
  readonly mask: bigint
  /** As written in the settings. */
  readonly text: string
}

export interface NetworkList {
  readonly entries: readonly Network[]
  /** The first entry that matches every address of its family, `0.0.0.0/0` or `::/0`. */
  readonly everything: Network | undefined
  has(address: IpAddress | undefined): boolean
}

const WIDTH = { 4: 32, 6: 128 } as const
const MAPPED = 0xffffn
const TOP_96 = ((1n << 96n) - 1n) << 32n

/** @returns undefined if the text is not an IP address */
export function parseIp(text: string | null | undefined): IpAddress | undefined {
  if (!text) return undefined
  // At each connection; ipaddr.js would take longer than all the rules.
  if (isIpv4(text)) return { family: 4, bits: text.split('.').reduce(appendOctet, 0) }
  const address = parseIpv6(text)
  if (!address) return undefined
  const bits = toBits(address)
  return bits >> 32n === MAPPED
    ? { family: 4, bits: Number(bits & 0xffffffffn) }
    : { family: 6, bits }
}

const appendOctet = (bits: number, octet: string) => bits * 256 + Number(octet)

/** @returns undefined if the text is not an IPv6 address */
export function parseIpv6(text: string): ipaddr.IPv6 | undefined {
  // ipaddr.js takes ::10.1.2.3 for ::ffff:10.1.2.3, which is another address.
  const written = text.replace(/^::(?=[^:]*\.)/, '0::')
  return ipaddr.IPv6.isValid(written) ? ipaddr.IPv6.parse(written) : undefined
}

/**
 * Reads `net`, `net/bits` or `net;mask`; without a mask it is one host.
 *
 * @returns the entry, or what is wrong with it and what was probably meant
 * @see Q193922, Q258140
 */
export function parseNetwork(text: string): Network | { readonly problem: string } {
  const [, netText = '', separator = '', maskText = ''] = /^([^/;]*)([/;]?)(.*)$/s.exec(text) ?? []
  const address = strictIp(netText.trim())
  if (!address) return { problem: notAnAddress(netText.trim()) }
  const family = address.kind() === 'ipv4' ? 4 : 6
  const mask = parseMask(family, separator, maskText.trim())
  if (typeof mask !== 'bigint') return mask
  const net = toBits(address)
  if ((net & mask) !== net) {
    const network = `${toText(family, net & mask)}${separator}${maskText.trim()}`
    return {
      problem:
        'the net has bits outside its mask, so the entry can never match; ' +
        `probably meant: ${network} (that network) or ${netText.trim()} (that one host)`,
    }
  }
  return unmapped({ family, net, mask, text })
}

// `10.1.*`, `10.1.` and `10.1`, as other programs write them, all mean 10.1.0.0/16.
function notAnAddress(text: string): string {
  const [, start = ''] = /^(\d{1,3}(?:\.\d{1,3}){0,2})\.?(?:\.\*)*$/.exec(text) ?? []
  const octets = start.split('.')
  const net = [...octets, '0', '0', '0'].slice(0, 4).join('.')
  const meant = strictIp(net) && `; probably meant: ${net}/${octets.length * 8}`
  return `${quoted(text)} is not an IPv4 or IPv6 address${meant ?? ''}`
}

// The text may be a URL with a password in it.
const quoted = (text: string) =>
  text.includes('@') ? 'this' : `'${text.length > 100 ? `${text.slice(0, 100)}…` : text}'`

export function networkList(entries: readonly Network[]): NetworkList {
  const steps = networkListSteps(entries)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** Like {@link networkList}, for a long list: pauses before each entry. */
export function* networkListSteps(
  entries: readonly Network[],
): Generator<undefined, NetworkList, undefined> {
  let everything: Network | undefined
  const v4 = new Map<number, Set<number>>()
  // Kept as text: V8 hashes big integers by their lowest 64 bits, which are mostly zero in networks.
  const v6 = new Map<bigint, Set<string>>()
  for (const entry of entries) {
    yield
    const { family, net, mask } = entry
    if (mask === 0n) everything ??= entry
    if (family === 4) setOf(v4, Number(mask)).add(Number(net))
    else setOf(v6, mask).add(net.toString(36))
  }
  const groups4 = [...v4]
  const groups6 = [...v6]
  return {
    entries,
    everything,
    has: (address) => {
      if (!address) return false
      if (address.family === 4) {
        return groups4.some(([mask, nets]) => nets.has((address.bits & mask) >>> 0))
      }
      return groups6.some(([mask, nets]) => nets.has((address.bits & mask).toString(36)))
    },
  }
}

/** @returns the first entry that matches, to explain why the list does */
export function entryFor(list: NetworkList, address: IpAddress | undefined): Network | undefined {
  return list.entries.find((entry) => networkList([entry]).has(address))
}

function setOf<K, N>(groups: Map<K, Set<N>>, mask: K): Set<N> {
  const existing = groups.get(mask)
  if (existing) return existing
  const created = new Set<N>()
  groups.set(mask, created)
  return created
}

const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)

/**
 * Whether the text is an IPv4 address with four decimal parts. ipaddr.js reads 25, 010.1 and 0x7f.1 as
 * inet_aton does; in a list of trusted hosts that is a trap.
 */
export const isIpv4 = (text: string): boolean => IPV4.test(text)

const parseIpv4 = (text: string) => (isIpv4(text) ? ipaddr.IPv4.parse(text) : undefined)

// Addresses with a zone are refused: a zone has a meaning on one machine only.
const strictIp = (text: string) =>
  parseIpv4(text) ?? (text.includes('%') ? undefined : parseIpv6(text))

function parseMask(family: 4 | 6, separator: string, text: string): bigint | { problem: string } {
  const width = WIDTH[family]
  const all = (1n << BigInt(width)) - 1n
  if (separator === '') return all
  if (separator === '/' && /^\d+$/.test(text) && Number(text) <= width) {
    return all ^ ((1n << BigInt(width - Number(text))) - 1n)
  }
  const mask = strictIp(text)
  const sameFamily = mask !== undefined && (mask.kind() === 'ipv4') === (family === 4)
  if (separator === ';' && sameFamily) return toBits(mask)
  if (separator === '/' && sameFamily) {
    return { problem: `after '/' comes a number of bits; a mask is written with ';': ;${text}` }
  }
  if (separator === ';' && /^\d+$/.test(text)) {
    return { problem: `after ';' comes a mask; a number of bits is written with '/': /${text}` }
  }
  return {
    problem:
      separator === '/'
        ? `${quoted(text)} is not a number of bits from 0 to ${width}`
        : `${quoted(text)} is not an IPv${family} mask`,
  }
}

// An entry for IPv4-mapped addresses would never match, since those clients count as IPv4 clients.
function unmapped(network: Network): Network {
  if (network.family === 4 || network.net >> 32n !== MAPPED) return network
  if ((network.mask & TOP_96) !== TOP_96) return network
  return { ...network, family: 4, net: network.net & 0xffffffffn, mask: network.mask & 0xffffffffn }
}

function toBits(address: ipaddr.IPv4 | ipaddr.IPv6): bigint {
  return address.toByteArray().reduce((bits, byte) => (bits << 8n) | BigInt(byte), 0n)
}

/** The address with these bits, in its usual notation. */
export function toText(family: 4 | 6, bits: bigint): string {
  const bytes = Array.from({ length: WIDTH[family] / 8 }, (_, i) => i).map((i) =>
    Number((bits >> BigInt(WIDTH[family] - 8 - 8 * i)) & 0xffn),
  )
  return ipaddr.fromByteArray(bytes).toString()
}

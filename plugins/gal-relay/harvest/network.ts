// The network that a client is counted as: its address, or all addresses with the same leading bits.
import { type IpAddress, toText } from '../routing/networks'

/** How many bits of an address name its network. */
export interface NetworkBits {
  readonly ipv4: number
  readonly ipv6: number
}

const WIDTH = { 4: 32, 6: 128 } as const

/** `203.0.113.9` where all bits count, else `203.0.113.0/24` or `2001:db8::/64`. */
export function networkOf({ family, bits }: IpAddress, { ipv4, ipv6 }: NetworkBits): string {
  const width = WIDTH[family]
  const kept = family === 4 ? ipv4 : ipv6
  const rest = BigInt(width - kept)
  const network = toText(family, (BigInt(bits) >> rest) << rest)
  return kept === width ? network : `${network}/${kept}`
}

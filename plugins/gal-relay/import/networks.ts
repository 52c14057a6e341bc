// Client networks as other systems write them, turned into entries of hosts[] and never[].
import { type Network, parseIp, parseNetwork, toText } from '../routing/networks'
import { type Draft, differs, leaveOut, take, takeOpenRelay } from './ini'

/** An entry that matches the same clients with its host bits cleared, as `net/bits`. */
export function maskedNetwork(text: string): string | undefined {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d+)$/.exec(text) ?? []
  const ip = parseIp(address)
  if (!ip) return undefined
  const width = ip.family === 4 ? 32 : 128
  const shift = BigInt(width - Number(bits))
  if (shift < 0n) return undefined
  return `${toText(ip.family, (BigInt(ip.bits) >> shift) << shift)}/${bits}`
}

/** @param text in the other system's notation, which is also `net`, `net/bits` or `net;mask` */
export function takeHosts(draft: Draft, from: string, text: string): void {
  const network = parseNetwork(text)
  if ('problem' in network) leaveOut(draft, from, `${text}: ${network.problem}`)
  else if (network.mask === 0n) takeOpenRelay(draft, from, `${text} is every client`)
  else take(draft, from, 'restrictions', 'hosts[]', text)
}

/**
 * Takes a list in which the first match decides, and `!` excludes clients.
 * @param entries without surrounding blanks
 */
export function takeOrdered(draft: Draft, from: string, entries: readonly string[]): void {
  const before: Network[] = []
  for (const entry of entries) {
    const isExcluded = entry.startsWith('!')
    const text = entry.replace(/^!\s*/, '')
    const network = parseNetwork(text)
    if ('problem' in network) {
      leaveOut(draft, from, `${entry}: ${network.problem}`)
    } else if (!isExcluded) {
      before.push(network)
      takeHosts(draft, from, text)
    } else if (before.some((one) => contains(one, network))) {
      leaveOut(
        draft,
        from,
        `${entry} comes after an entry that already lets those clients in, and changes nothing`,
      )
    } else {
      take(draft, from, 'restrictions', 'never[]', text)
      differs(
        draft,
        from,
        `${entry}: a client in never[] may not relay even after it has authenticated`,
      )
      const inside = before.filter((one) => contains(network, one))
      for (const one of inside) {
        differs(
          draft,
          from,
          `${one.text} stood before ${entry} and so could relay; never[] goes before hosts[], so it cannot here`,
        )
      }
    }
  }
}

const contains = (outer: Network, inner: Network) =>
  outer.family === inner.family &&
  (outer.mask & inner.mask) === outer.mask &&
  (inner.net & outer.mask) === outer.net

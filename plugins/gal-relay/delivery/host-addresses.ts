// The addresses of next hops. Names are looked up as other programs on this machine do, /etc/hosts
// included, which Haraka's own look-up of MX hosts leaves out.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'

const USABLE_FOR = 30_000

export class HostAddresses {
  // One look-up at a time for each name: each blocks a thread that file access needs too.
  private readonly asked = new LRUCache<string, Promise<readonly string[]>>({
    max: 1000,
    ttl: USABLE_FOR,
  })

  /** @returns IP addresses in the order to try them; @throws Error if there are none */
  of(host: string): Promise<readonly string[]> {
    if (isIP(host)) return Promise.resolve([host])
    const asked = this.asked.get(host)
    if (asked) return asked
    const answer = lookup(host, { all: true }).then(
      (all) => all.map(({ address }) => address),
      (error) => {
        this.asked.delete(host)
        throw error
      },
    )
    this.asked.set(host, answer)
    return answer
  }
}

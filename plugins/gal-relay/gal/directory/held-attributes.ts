// Which attributes the servers of a directory hold values of. A replica may be set up without some of
// them (fractional replication in 389 Directory Server), and finds nobody by those. That is only seen
// beside a server that has them.

import { printable } from '../../ldap/directory-error'
import type { Doubt } from './base-search'
import type { Searchable } from './searchable'

export class HeldAttributes {
  /** By the server's name; attributes by the names in the settings. */
  readonly #byServer = new Map<string, ReadonlySet<string>>()

  note(server: string, { findings }: Pick<Searchable, 'findings'>): void {
    const held = findings.filter(({ isHeld }) => isHeld)
    this.#byServer.set(server, new Set(held.map(({ attribute }) => attribute)))
  }

  /** @returns doubts about the attributes that this server has no values of, and another one has */
  lackedBy(server: string): Doubt[] {
    const own = this.#byServer.get(server)
    if (!own || this.#byServer.size < 2) return []
    const doubts = new Map<string, Doubt>()
    for (const [other, held] of this.#byServer) {
      for (const attribute of held) {
        if (own.has(attribute)) continue
        const what = `entries on ${other} have it, and none on this server: is it replicated?`
        doubts.set(attribute, { isOfSearches: false, text: `${printable(attribute)}: ${what}` })
      }
    }
    return [...doubts.values()]
  }
}

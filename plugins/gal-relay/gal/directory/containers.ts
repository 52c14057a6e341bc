// In a large directory the entries that are sampled may all lie in a few containers. So each container is
// sampled too: access rules, and rules that rewrite what is shown, often apply to a single one.

import type { Entry } from '../../ldap/entry'
import { and, equals, or } from '../../ldap/filter'
import type { BaseSearch } from './base-search'

/** The most containers that are sampled, and how many at the same time. */
const CONTAINERS = 200
const AT_A_TIME = 20
/** Entries read from each. */
const SHOWN = 2

export const IS_CONTAINER = or(
  ...['organizationalUnit', 'organization', 'dcObject', 'domain', 'locality', 'country'].map(
    (name) => equals('objectClass', name),
  ),
)

export interface ContainerSamples {
  /** Some entries of each container, with the attributes of the list. */
  readonly entries: readonly Entry[]
  /** DNs of entries in containers where no entry shows whether it has the attributes. */
  readonly undecided: readonly string[]
}

/**
 * @param have matches the entries that are sampled
 * @param decided matches those that hide nothing
 * @throws DirectoryError if there is no answer
 */
export async function sampleContainers(
  search: BaseSearch,
  have: Buffer,
  decided: Buffer,
): Promise<ContainerSamples> {
  const containers = await containersIn(search, IS_CONTAINER)
  const entries: Entry[] = []
  const undecided: string[] = []
  const sample = async (dn: string) => {
    const { attributes } = search.list
    const open = await search.findIn(dn, and(have, decided), attributes, SHOWN)
    entries.push(...open.entries.slice(0, SHOWN))
    if (open.entries.length > 0 || open.code !== 0) return
    const any = await search.findIn(dn, have, attributes, SHOWN)
    undecided.push(...any.entries.slice(0, SHOWN).map((entry) => entry.dn))
  }
  for (let at = 0; at < containers.length; at += AT_A_TIME) {
    await Promise.all(containers.slice(at, at + AT_A_TIME).map(sample))
  }
  return { entries, undecided }
}

/** @returns DNs, no more than the size limit even if the server ignores it @throws DirectoryError */
export async function containersIn(search: BaseSearch, filter: Buffer): Promise<string[]> {
  const { entries } = await search.find(filter, undefined, CONTAINERS)
  return [...new Set(entries.map(({ dn }) => dn))].slice(0, CONTAINERS)
}

// In a large directory the entries that are looked at all lie in a few containers. Here is a look into each
// container: rights, and rules that rewrite what is shown, are mostly made for one of them.

import type { Entry } from '../../ldap/entry'
import { and, equals, or } from '../../ldap/filter'
import type { BaseSearch } from './base-search'

/** The most containers that are looked into, and how many at the same time. */
const CONTAINERS = 200
const AT_A_TIME = 20
/** Entries that each shows. */
const SHOWN = 2

export const IS_CONTAINER = or(
  ...['organizationalUnit', 'organization', 'dcObject', 'domain', 'locality', 'country'].map(
    (name) => equals('objectClass', name),
  ),
)

export interface LookedInto {
  /** Some of each container, with the attributes of the list. */
  readonly entries: readonly Entry[]
  /** DNs of entries in containers none of which tells what it should. */
  readonly untelling: readonly string[]
}

/**
 * @param have which entries are looked for
 * @param decided what those tell that hide nothing
 * @throws DirectoryError if there is no answer
 */
export async function lookIntoContainers(
  search: BaseSearch,
  have: Buffer,
  decided: Buffer,
): Promise<LookedInto> {
  const containers = await containersIn(search, IS_CONTAINER)
  const entries: Entry[] = []
  const untelling: string[] = []
  const look = async (dn: string) => {
    const { attributes } = search.list
    const telling = await search.findIn(dn, and(have, decided), attributes, SHOWN)
    entries.push(...telling.entries.slice(0, SHOWN))
    if (telling.entries.length > 0 || telling.code !== 0) return
    const any = await search.findIn(dn, have, attributes, SHOWN)
    untelling.push(...any.entries.slice(0, SHOWN).map((entry) => entry.dn))
  }
  for (let at = 0; at < containers.length; at += AT_A_TIME) {
    await Promise.all(containers.slice(at, at + AT_A_TIME).map(look))
  }
  return { entries, untelling }
}

/** @returns DNs; no more than are asked for, whatever the server sends @throws DirectoryError */
export async function containersIn(search: BaseSearch, filter: Buffer): Promise<string[]> {
  const { entries } = await search.find(filter, undefined, CONTAINERS)
  return [...new Set(entries.map(({ dn }) => dn))].slice(0, CONTAINERS)
}

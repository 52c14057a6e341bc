// Parts of the tree that a server has in databases of their own. 389 Directory Server searches the
// tree without those that are disabled or being imported, and does not say so: only a search for their
// top does.

import { resultError } from '../../ldap/directory-error'
import { present } from '../../ldap/filter'
import { isBelow } from '../../ldap/naming-contexts'
import type { RootDse } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { Result } from '../../ldap/search-result'
import type { Doubt } from './base-search'

/** Result codes: another server has the part, which searches from above say too; the database is empty. */
const REFERRAL = 10
const NO_SUCH_OBJECT = 32

/** @returns the DNs of their tops, each once; usually none */
export function partsBelow(
  bases: readonly string[],
  { databases }: Pick<RootDse, 'databases'>,
): readonly string[] {
  return databases.filter((top) => bases.some((base) => isBelow(top, base)))
}

/**
 * @param parts tops
 * @param search sends searches and returns their results
 * @returns those parts that are not searched now
 * @throws DirectoryError if there is no answer
 */
export async function partsLeftOut(
  parts: readonly string[],
  search: (searches: readonly Buffer[]) => Promise<readonly Result[]>,
): Promise<readonly Doubt[]> {
  if (parts.length === 0) return []
  const results = await search(parts.map(topOf))
  return results.flatMap(({ code, diagnostic, references }, i) => {
    if (code === 0 || code === NO_SUCH_OBJECT || code === REFERRAL) return []
    const why = resultError(code, diagnostic, references).message
    const text = `${parts[i]} is in a database of its own, which is not searched: ${why}`
    return [{ isOfSearches: false, text }]
  })
}

function topOf(base: string): Buffer {
  const attributes = attributeList(['1.1'])
  return searchRequest({ base, scope: SCOPE.base, filter: present('objectClass'), attributes })
}

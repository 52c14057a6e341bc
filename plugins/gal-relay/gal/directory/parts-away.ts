// Parts of the tree that are in databases of their own, which may be proxies for other servers. If such a
// part cannot be asked, OpenLDAP (glued databases, back-meta) and 389 Directory Server (a database that is
// disabled or being imported) answer a search of the whole tree with success, but without its entries. A
// search for the top of the part itself fails.

import type { Connection } from '../../ldap/connection'
import { DirectoryError, resultError } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { present } from '../../ldap/filter'
import { contextsBelow } from '../../ldap/naming-contexts'
import { type RootDse, valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { BaseSearch, Doubt } from './base-search'
import { containerOf } from './entry-addresses'

/**
 * Results (RFC 4511 §A.1): operations error, time limit exceeded, busy, unavailable, unwilling, other; and
 * those of a proxy that is not let in: stronger auth required, inappropriate authentication, invalid
 * credentials.
 */
const AWAY: ReadonlySet<number> = new Set([1, 3, 8, 48, 49, 51, 52, 53, 80])
/** @param code of a search for an entry by its name */
export const isAway = (code: number): boolean => AWAY.has(code)

/** Containers that are remembered below one base. */
const REMEMBERED = 200

/** @returns DNs of the server's databases, as far as it names them @throws DirectoryError if there is no answer */
export async function databasesOf(
  connection: Connection,
  { namingContexts, databases, monitor }: RootDse,
  patience: number,
): Promise<readonly string[]> {
  const known = [...namingContexts, ...databases]
  if (!monitor) return known
  // Databases that are part of others are not among the naming contexts of the server itself.
  const search = searchRequest({
    base: `cn=Databases,${monitor}`,
    scope: SCOPE.base,
    filter: present('objectClass'),
    attributes: attributeList(['namingContexts']),
  })
  const { entries } = await connection.search(search, patience)
  const listed = valuesOf(entries[0], 'namingContexts').map((value) => value.toString('utf8'))
  return [...known, ...listed]
}

export interface Parts {
  /** DNs of the databases below the base; usually none. */
  readonly databases: readonly string[]
  /** Set if some of them cannot be asked. */
  readonly away: Doubt | undefined
  /** Containers in which entries were seen, including those that cannot be asked now; in lower case. */
  readonly containers: ReadonlySet<string>
}

/**
 * @param databases of the server
 * @param seen entries below the base
 * @param before containers in which entries were seen before
 * @throws DirectoryError if there is no answer
 */
export async function findParts(
  search: BaseSearch,
  databases: readonly string[],
  seen: readonly Entry[],
  before: ReadonlySet<string> = new Set(),
): Promise<Parts> {
  const below = contextsBelow(search.base, databases).map((dn) => dn.toLowerCase())
  const containers = new Set([...below, ...seen.map(({ dn }) => containerOf(dn))])
  const parts = new Set([...below, ...[...before].filter((dn) => !containers.has(dn))])
  const answers = await Promise.all([...parts].map((dn) => whyAway(search, dn)))
  let away: Doubt | undefined
  for (const [place, dn] of [...parts].entries()) {
    const why = answers[place]
    if (why === undefined) continue
    away ??= search.doubt(dn, `this part of the tree cannot be asked: ${why}`)
    if (before.has(dn)) containers.add(dn)
  }
  return { databases: below, away, containers: new Set([...containers].slice(0, REMEMBERED)) }
}

/** @param containers as they were remembered @throws DirectoryError if there is no answer */
export async function isAnyAway(
  search: BaseSearch,
  containers: ReadonlySet<string>,
): Promise<boolean> {
  const answers = await Promise.all([...containers].map((dn) => whyAway(search, dn)))
  return answers.some((why) => why !== undefined)
}

/** @returns for people; undefined if the entry is there, or is not */
async function whyAway(search: BaseSearch, dn: string): Promise<string | undefined> {
  try {
    const { code, diagnostic } = await search.findAt(dn, present('objectClass'))
    return isAway(code) ? resultError(code, diagnostic).message : undefined
  } catch (error) {
    if (error instanceof DirectoryError && error.failure === 'timeout') return error.message
    throw error
  }
}

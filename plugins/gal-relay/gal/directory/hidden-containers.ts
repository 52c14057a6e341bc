// Containers whose entries an account may not see at all. Whether they hold recipients cannot be known, so
// look-ups ignore them, and check names them.

import type { Connection } from '../../ldap/connection'
import { printable } from '../../ldap/directory-error'
import { and, equals, present } from '../../ldap/filter'
import { BaseSearch } from './base-search'
import { containersIn, IS_CONTAINER } from './containers'
import { type Finding, note } from './finding'
import type { ListDefinition } from './list-definition'

/** The most that are named. */
const NAMED = 5

/** @throws DirectoryError if there is no answer */
export async function* hiddenContainers(
  connection: Connection,
  list: ListDefinition,
  patience: number,
): AsyncGenerator<Finding> {
  // An attribute of X.501; OpenLDAP and 389 Directory Server have it.
  const isParent = and(IS_CONTAINER, equals('hasSubordinates', 'TRUE'))
  const hidden: string[] = []
  for (const base of list.bases) {
    const search = new BaseSearch({ connection, list, patience }, base)
    for (const dn of await containersIn(search, isParent)) {
      const below = await search.findIn(dn, present('objectClass'), ['1.1'], 1)
      const isEmpty = below.entries.length === 0 && below.references.length === 0
      if (below.code === 0 && isEmpty) hidden.push(printable(dn))
    }
  }
  if (hidden.length === 0) return
  const more = hidden.length > NAMED ? ' and others' : ''
  yield note(
    `what is directly below ${hidden.slice(0, NAMED).join('; ')}${more} is hidden from this account: ` +
      'recipients there, if any, are unknown recipients',
  )
}

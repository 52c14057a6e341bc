// Finds alias objects (RFC 4512 §2.6) whose targets are not looked up, for check.

import type { Connection } from '../../ldap/connection'
import { printable } from '../../ldap/directory-error'
import { equals } from '../../ldap/filter'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { LdapSettings } from '../../settings/settings'
import { type Finding, warning } from './finding'

/** @throws DirectoryError if there is no answer */
export async function* aliasObjects(
  connection: Connection,
  { base: bases, dereference }: Pick<LdapSettings, 'base' | 'dereference'>,
  patience: number,
): AsyncGenerator<Finding> {
  if (dereference === 'search' || dereference === 'always') return
  const search = {
    scope: SCOPE.subtree,
    filter: equals('objectClass', 'alias'),
    sizeLimit: 1,
    attributes: attributeList(['1.1']),
  }
  const results = await Promise.all(
    bases.map((base) => connection.search(searchRequest({ base, ...search }), patience)),
  )
  const dn = results.flatMap(({ entries }) => entries)[0]?.dn
  if (dn === undefined) return
  yield warning(
    `${printable(dn)} is an alias object, and its target is not looked up: set dereference = search`,
  )
}

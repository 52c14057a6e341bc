// Why a list in memory is not the whole list, in words for the log.
import { printable } from '../../ldap/directory-error'
import type { LdapSettings } from '../../settings/settings'
import { referredText, whyNotFollowed } from '../directory/references'
import type { Searchable } from '../directory/searchable'

/** @param searchable of a server that hides entries, or refers to others */
export function whyNotWhole(
  { doubts, references, isActiveDirectory }: Searchable,
  ldap: LdapSettings,
): string {
  const doubt = doubts.find(({ isOfSearches }) => !isOfSearches)
  if (doubt) return doubt.text
  const place = references.findIndex(({ length }) => length > 0)
  const url = references[place]?.[0] ?? ''
  const base = ldap.base[place] ?? ''
  const whyNot = whyNotFollowed(url, ldap)
  return whyNot === undefined
    ? `part of the tree below ${base || 'the top'} is at ${printable(url)}`
    : referredText(base, url, whyNot, isActiveDirectory)
}

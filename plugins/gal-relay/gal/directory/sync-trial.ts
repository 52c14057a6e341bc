// Tries for check whether a server lets this account synchronize the list (RFC 4533).

import { REFRESH_ONLY, syncRequest } from '../../ldap/content-sync'
import { resultError } from '../../ldap/directory-error'
import { or, present } from '../../ldap/filter'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import { type FeedTrial, isLimit } from '../feeds/change-feed'
import { limitsToRaise } from './hint'

/** Tries every base: the whole list below it if a snapshot is wanted, otherwise the base alone. */
export async function trySynchronization(context: FeedTrial): Promise<string | undefined> {
  const { bases } = context.list
  const tried = await Promise.all(bases.map((base) => triedBelow(context, base)))
  const place = tried.findIndex(({ code }) => code !== 0)
  const result = tried[place]
  if (!result) return undefined
  const where = bases.length > 1 ? ` below ${bases[place] || 'the top'}` : ''
  const why = resultError(result.code, result.diagnostic, result.references).message
  return isLimit(result.code)
    ? `by syncrepl it gives this account only part of the list${where}: ${why}; ` +
        limitsToRaise(context.rootDse)
    : `it does not report changes by syncrepl${where}: ${why}; overlay syncprov?`
}

function triedBelow({ connection, list, isWanted, patience }: FeedTrial, base: string) {
  const search = searchRequest({
    base,
    scope: isWanted ? SCOPE.subtree : SCOPE.base,
    filter: isWanted ? or(...list.attributes.map(present)) : present('objectClass'),
    attributes: attributeList(['1.1']),
  })
  const options = { controls: [syncRequest(REFRESH_ONLY)], patience }
  return connection.stream(search, { entry: () => {} }, options).result
}

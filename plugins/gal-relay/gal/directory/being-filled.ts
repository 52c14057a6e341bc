// An OpenLDAP replica that is being filled for the first time answers like any other, from the entries that it
// has so far. Its replication state (contextCSN) comes last.

import { REFRESH_ONLY, SYNC_REQUEST, syncRequest } from '../../ldap/content-sync'
import { not, or, present } from '../../ldap/filter'
import { contextsOf } from '../../ldap/naming-contexts'
import { type RootDse, valuesOf } from '../../ldap/root-dse'
import type { BaseSearch, Doubt } from './base-search'

const STATE = 'contextCSN'

export interface Filling {
  /** Whether the database is known to have no replication state: it is not replicated, or not yet. */
  readonly isStateless: boolean
  /** Set if it would have one, were it not being filled. */
  readonly doubt: Doubt | undefined
}

/** @throws DirectoryError if there is no answer */
export async function isBeingFilled(
  search: BaseSearch,
  { isOpenLdap, controls, namingContexts }: RootDse,
): Promise<Filling> {
  if (!isOpenLdap) return { isStateless: false, doubt: undefined }
  const [context = search.base] = contextsOf([search.base], namingContexts) ?? []
  // Neither holds if the attribute is hidden from this account.
  const isDecided = or(present(STATE), not(present(STATE)))
  const [entry] = (await search.findAt(context, isDecided, [STATE])).entries
  const isStateless = entry !== undefined && valuesOf(entry, STATE).length === 0
  // A server that offers synchronization itself has a state from the start.
  const isProvider =
    isStateless &&
    controls.has(SYNC_REQUEST) &&
    (await search.isAnswered(context, syncRequest(REFRESH_ONLY)))
  const text =
    'it has no contextCSN, though it reports changes: it is a replica that is still being filled, or a proxy ' +
    'drops that attribute'
  return { isStateless, doubt: isProvider ? search.doubt(context, text) : undefined }
}

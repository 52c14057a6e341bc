// An OpenLDAP replica that is being filled for the first time answers like any other, with those entries
// that it has so far. The state of its replication (contextCSN) comes last.

import { REFRESH_ONLY, SYNC_REQUEST, syncRequest } from '../../ldap/content-sync'
import { not, or, present } from '../../ldap/filter'
import { contextsOf } from '../../ldap/naming-contexts'
import { type RootDse, valuesOf } from '../../ldap/root-dse'
import type { BaseSearch, Doubt } from './base-search'

const STATE = 'contextCSN'

export interface Filling {
  /** It is known that the database has no state of replication: it is not replicated, or not yet. */
  readonly isStateless: boolean
  /** It would have that if it were not being filled. */
  readonly doubt: Doubt | undefined
}

/** @throws DirectoryError if there is no answer */
export async function isBeingFilled(
  search: BaseSearch,
  { isOpenLdap, controls, namingContexts }: RootDse,
): Promise<Filling> {
  if (!isOpenLdap) return { isStateless: false, doubt: undefined }
  const [context = search.base] = contextsOf([search.base], namingContexts) ?? []
  // Neither of the two holds for whom it is hidden from.
  const isDecided = or(present(STATE), not(present(STATE)))
  const [entry] = (await search.findAt(context, isDecided, [STATE])).entries
  const isStateless = entry !== undefined && valuesOf(entry, STATE).length === 0
  // Whoever offers synchronization of its own has a state from the start.
  const isProvider =
    isStateless &&
    controls.has(SYNC_REQUEST) &&
    (await search.isAnswered(context, syncRequest(REFRESH_ONLY)))
  const text =
    'it has no contextCSN, though it reports changes: unless that attribute is dropped somewhere, it is ' +
    'a replica that is still being filled'
  return { isStateless, doubt: isProvider ? search.doubt(context, text) : undefined }
}

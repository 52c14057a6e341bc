// The list that the plugin asks: the live look-up behind a cache, also by other names; in
// snapshot mode behind the whole list in memory.

import type { ServerReport } from '../ldap/health'
import type { Log } from '../log'
import type { Recipient } from '../routing/recipient'
import type { AddressList } from './address-list'
import { CachedList, type CacheReport } from './cache'
import { listDefinition } from './directory/list-definition'
import { LiveList, type LiveListOptions } from './live'
import { ListWithOtherNames, otherNames } from './other-names'
import type { ListSettings } from './snapshot/list-settings'
import type { SnapshotReport } from './snapshot/snapshot-list'

/** How the list is, for the log, metrics and the status page. */
export interface ListReport {
  readonly servers: readonly ServerReport[]
  readonly cache: CacheReport
  /** Of a list in memory. */
  readonly snapshot: SnapshotReport | undefined
}

export interface GlobalAddressList extends AddressList {
  report(): ListReport
  /** Every server of its directory is known to be down, or the list that is received is not current. */
  isAway(): boolean
  /**
   * Drops what the cache has of the recipient, by all its names. A list in memory is the directory's own
   * and follows it: it has nothing to forget.
   *
   * @returns whether there was anything
   */
  forget(recipient: Recipient): boolean
}

/** A new list starts with an empty cache and reads certificates and the password file anew. */
export function createAddressList(
  { gal, ldap, snapshot }: ListSettings,
  log: Log,
  options: Pick<LiveListOptions, 'isOnDemand'> = {},
): GlobalAddressList {
  if (gal.mode === 'received')
    return loadReceived().createReceivedList({ gal, ldap, snapshot }, log)
  const live = new LiveList(listDefinition(gal, ldap), ldap, log, options)
  const cached = new CachedList(live, gal)
  const others = otherNames(gal)
  const asked = others ? new ListWithOtherNames(cached, others) : cached
  const snapshotList =
    gal.mode === 'snapshot'
      ? new (loadSnapshot().SnapshotList)(asked, { gal, ldap, snapshot }, log)
      : undefined
  const list = snapshotList ?? asked
  return {
    start: () => list.start(),
    lookup: (recipient) => list.lookup(recipient),
    close: () => list.close(),
    forget: (recipient) => {
      const names = [recipient, ...(others?.(recipient) ?? [])]
      return names.map((name) => cached.forget(name)).includes(true)
    },
    isAway: () => live.isAway,
    report: () => ({
      servers: live.report(),
      cache: cached.report(),
      snapshot: snapshotList?.report(),
    }),
  }
}

/** A server without the list in memory does not load what keeps it. */
const loadSnapshot = () =>
  require('./snapshot/snapshot-list') as typeof import('./snapshot/snapshot-list')

const loadReceived = () =>
  require('./snapshot/received-list') as typeof import('./snapshot/received-list')

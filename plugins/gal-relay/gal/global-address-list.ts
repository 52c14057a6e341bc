// The list that the plugin asks: live look-ups behind a cache, by other names too, and in snapshot
// mode behind the whole list in memory.

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

/** The state of the list, for the log, metrics and the status page. */
export interface ListReport {
  readonly servers: readonly ServerReport[]
  readonly cache: CacheReport
  /** For a list in memory. */
  readonly snapshot: SnapshotReport | undefined
}

export interface GlobalAddressList extends AddressList {
  report(): ListReport
  /** Whether all servers of its directory are known to be down, or the received list is outdated. */
  isAway(): boolean
  /**
   * Removes the recipient from the cache, under all its names. A list in memory is the directory's
   * own and follows its changes, so it has nothing to forget.
   *
   * @returns whether the cache held anything
   */
  forget(recipient: Recipient): boolean
}

/** A new list starts with an empty cache and reads certificates and the password file again. */
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

/** A server that does not keep the list in memory does not load this code. */
const loadSnapshot = () =>
  require('./snapshot/snapshot-list') as typeof import('./snapshot/snapshot-list')

const loadReceived = () =>
  require('./snapshot/received-list') as typeof import('./snapshot/received-list')

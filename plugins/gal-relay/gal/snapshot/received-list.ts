// A list that another server reads. All answers come from memory. There is no directory here to ask
// when memory has no answer.
import type { Log } from '../../log'
import type { Recipient } from '../../routing/recipient'
import type { AddressList } from '../address-list'
import type { CacheReport } from '../cache'
import { Notices } from '../notices'
import type { ListSettings } from './list-settings'
import { SnapshotList } from './snapshot-list'

const NO_CACHE: CacheReport = { found: 0, absent: 0, hits: 0, misses: 0, stale: 0 }
/** Reported in place of a directory. */
export const NO_DIRECTORY = { servers: [], cache: NO_CACHE } as const

/** @returns a list like all others (global-address-list.ts) */
export function createReceivedList(settings: ListSettings, log: Log) {
  const notices = new Notices(log)
  const nobody: AddressList = {
    start() {},
    lookup() {
      const reason = whyUnknown(list.report().asOf)
      notices.deferred('unproven', reason)
      return { state: 'unavailable', reason }
    },
    async close() {},
  }
  const list = new SnapshotList(nobody, settings, log)
  return {
    start: () => list.start(),
    lookup: (recipient: Recipient) => list.lookup(recipient),
    close: () => list.close(),
    forget: () => false,
    isAway: () => !list.report().isCurrent,
    report: () => ({ ...NO_DIRECTORY, snapshot: { ...list.report(), isReceived: true } }),
  }
}

/** @param asOf when the list was last known to be right, milliseconds since 1970; 0: no list */
export function whyUnknown(asOf: number): string {
  if (asOf === 0) return 'no list has been received yet'
  return `the list that was received is not current: it was last confirmed at ${new Date(asOf).toISOString()}`
}

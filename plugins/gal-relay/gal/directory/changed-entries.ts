// Entries that a server reports as they change. What it reports is not always what a search shows: it may
// bypass overlays that add, rename or rewrite values as entries are read. So if a change affects addresses,
// the entry itself is read.

import type { Entry } from '../../ldap/entry'
import { isWithin } from '../../ldap/naming-contexts'
import type { FeedContext } from '../feeds/change-feed'
import { baseIn, nameOf, uuidIn, uuidOf } from './entry-uuid'
import { idOf } from './whole-list'

/** Entries that are read at the same time. */
const AT_A_TIME = 32

export interface ChangedEntries {
  /** An entry is new or changed. */
  changed(id: Buffer, entry: Entry): void
  gone(id: Buffer): void
  /** Resolves when all changes reported so far have been handed over. @throws DirectoryError */
  settled(): Promise<void>
}

/**
 * @param tops DNs of the bases, as the server writes them. An entry that is reported elsewhere goes by its
 *   name in the database behind, which the view that is searched does not have.
 */
export function changedEntries(
  { keeper, list }: Pick<FeedContext, 'keeper' | 'list'>,
  tops: readonly string[],
): ChangedEntries {
  /** The entries to be read or being read, each with its last reported change. */
  const pending = new Map<string, { readonly id: Buffer; readonly dn: string }>()
  const waiting = new Set<string>()
  let reading: Promise<void> | undefined
  let failure: unknown
  const byName = async (dn: string) => {
    const entry = await list.readOne(dn)
    return entry && (await list.complete(entry))
  }
  const byId = async (id: Buffer) => {
    let found: Entry | undefined
    await list.readThese('entryUUID', [Buffer.from(nameOf(uuidIn(id)))], (_, entry, base) => {
      if (base === baseIn(id)) found = entry
    })
    return found
  }
  const read = async (key: string) => {
    const change = pending.get(key)
    if (!change) return
    const { id, dn } = change
    const isNamed = isWithin(dn, tops[baseIn(id)] ?? '')
    const entry = await (isNamed ? byName(dn) : byId(id))
    // It has changed again in the meantime, or is gone.
    if (pending.get(key) !== change) return
    pending.delete(key)
    // Another entry has its name: this one was moved, which is reported next.
    if (entry && !uuidOf(idOf(entry)).equals(uuidIn(id))) return
    if (entry) keeper.entry(id, entry)
    else keeper.gone(id)
  }
  const readAll = async () => {
    while (waiting.size > 0) {
      const some = [...waiting].slice(0, AT_A_TIME)
      for (const key of some) waiting.delete(key)
      await Promise.all(some.map(read))
    }
  }
  const start = () => {
    reading ??= readAll()
      .catch((error: unknown) => {
        failure = error
      })
      .finally(() => {
        reading = undefined
      })
  }
  return {
    changed(id, entry) {
      const key = id.toString('latin1')
      if (!pending.has(key) && keeper.holds(id, entry)) return keeper.entry(id, entry)
      pending.set(key, { id: Buffer.from(id), dn: entry.dn })
      waiting.add(key)
      start()
    },
    gone(id) {
      pending.delete(id.toString('latin1'))
      keeper.gone(id)
    },
    async settled() {
      await reading
      if (failure) throw failure
    },
  }
}

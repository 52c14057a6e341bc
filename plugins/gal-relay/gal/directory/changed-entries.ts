// Entries that a server tells of as they change. What it shows then is not always what a search shows:
// overlays that add, rename or rewrite values as entries are read may be passed by. So where a change is
// one of addresses, the entry itself is read.

import type { Entry } from '../../ldap/entry'
import type { FeedContext } from '../feeds/change-feed'

/** Entries that are read at the same time. */
const AT_A_TIME = 32

export interface ChangedEntries {
  /** An entry is new or changed. */
  changed(id: Buffer, entry: Entry): void
  gone(id: Buffer): void
  /** Resolves when all that were told of so far are handed over. @throws DirectoryError */
  settled(): Promise<void>
}

/** @param isSame whether an entry that was read is the one with this id */
export function changedEntries(
  { keeper, list }: Pick<FeedContext, 'keeper' | 'list'>,
  isSame: (id: Buffer, entry: Entry) => boolean,
): ChangedEntries {
  /** Those to be read or being read: what was told of each last. */
  const told = new Map<string, { readonly id: Buffer; readonly dn: string }>()
  const waiting = new Set<string>()
  let reading: Promise<void> | undefined
  let failure: unknown
  const read = async (key: string) => {
    const change = told.get(key)
    if (!change) return
    const found = await list.readOne(change.dn)
    const entry = found && (await list.complete(found))
    // It has changed again since, or is gone.
    if (told.get(key) !== change) return
    told.delete(key)
    // Another has its name: it was moved, which is told next.
    if (entry && !isSame(change.id, entry)) return
    if (entry) keeper.entry(change.id, entry)
    else keeper.gone(change.id)
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
      if (!told.has(key) && keeper.holds(id, entry)) return keeper.entry(id, entry)
      told.set(key, { id: Buffer.from(id), dn: entry.dn })
      waiting.add(key)
      start()
    },
    gone(id) {
      told.delete(id.toString('latin1'))
      keeper.gone(id)
    },
    async settled() {
      await reading
      if (failure) throw failure
    },
  }
}

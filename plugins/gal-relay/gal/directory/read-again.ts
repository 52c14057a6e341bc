// Entries of which only is known that they changed: reads them as they are now.
import type { FeedContext } from '../feeds/change-feed'

/**
 * @param attribute whose values the ids are
 * @throws DirectoryError
 */
export async function readAgain(
  { list, keeper }: FeedContext,
  attribute: string,
  ids: readonly Buffer[],
): Promise<void> {
  const missing = new Map(ids.map((id) => [id.toString('latin1'), id]))
  await list.readThese(attribute, [...missing.values()], (id, entry) => {
    missing.delete(id.toString('latin1'))
    keeper.entry(id, entry)
  })
  for (const id of missing.values()) keeper.gone(id)
}

/**
 * Lists the ids of all entries, drops those that are gone and reads those that are new.
 * @throws DirectoryError
 */
export async function compareIds(context: FeedContext, attribute: string): Promise<void> {
  const comparison = context.keeper.compare()
  await context.list.readIds((id) => comparison.seen(id))
  await readAgain(context, attribute, await comparison.end())
}

/**
 * When containers were moved, what is below them went with them, and that is not told.
 * @param moved DNs, as they are now, of entries that may have been moved
 * @returns whether the whole list must be looked through
 */
export async function mayHaveMovedOthers(
  { list }: FeedContext,
  moved: readonly string[],
): Promise<boolean> {
  for (const dn of moved) {
    if (await list.hasBelow(dn)) return true
  }
  return false
}

// Rereads entries when all that is known is that they have changed.
import type { FeedContext } from '../feeds/change-feed'

/**
 * @param attribute the attribute that holds the ids
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
 * When a container is moved, the entries below it move too, and no server reports that.
 * @param moved the present DNs of entries that may have been moved
 * @returns whether the whole list must be compared
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

// Entries of which only is known that they changed: reads them as they are now.
import type { FeedContext } from './change-feed'

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

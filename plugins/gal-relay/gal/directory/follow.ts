// Takes the best way there is to follow the list: what a directory offers is in its root DSE, and a
// way that is refused is passed over for the next.

import { DirectoryError } from '../../ldap/directory-error'
import { readRootDse } from '../../ldap/root-dse'
import { type FeedContext, type ListKeeper, NotOffered } from '../feeds/change-feed'
import { FEEDS, type FeedName } from '../feeds/table'
import { goodFor } from './known-searchable'
import { type ListDefinition, underOurNames, withAttributes } from './list-definition'
import { partsLeftOut } from './parts'
import { hidesEntries, readSearchable, type Searchable } from './searchable'
import { PATIENCE, WholeList } from './whole-list'

export interface FollowOptions extends Omit<FeedContext, 'rootDse' | 'list'> {
  readonly definition: ListDefinition
  /** For an answer to a single question, milliseconds. */
  readonly timeout: number
  /** Told which way is tried, before anything is handed over. */
  readonly onWay: (name: FeedName) => void
  /** Told before anything is handed over, and whenever it is looked at again. */
  readonly onSearchable: (searchable: Searchable) => void
}

/** Looks now and then whether all the list is still to be seen. */
function watched(options: FollowOptions, first: Searchable): ListKeeper {
  const { keeper, every } = options
  let searchable = first
  let lookedAt = performance.now()
  let took = 0
  return {
    begin: () => keeper.begin(),
    entry: (id, entry) => keeper.entry(id, underOurNames(entry, searchable.namedOtherwise)),
    gone: (id) => keeper.gone(id),
    complete: () => keeper.complete(),
    compare: () => keeper.compare(),
    async confirmed(at) {
      const countsFor = hidesEntries(searchable) ? every : goodFor(searchable, took)
      const now = performance.now()
      if (now - lookedAt >= countsFor || (await isPartLeftOut(options, searchable))) {
        searchable = await lookAt(options)
        lookedAt = performance.now()
        took = lookedAt - now
      }
      await keeper.confirmed(at)
    },
  }
}

async function isPartLeftOut(
  { connection }: FollowOptions,
  { parts }: Searchable,
): Promise<boolean> {
  const search = (searches: readonly Buffer[]) =>
    Promise.all(searches.map((one) => connection.search(one, PATIENCE)))
  return (await partsLeftOut(parts, search)).length > 0
}

async function lookAt({
  connection,
  definition,
  onSearchable,
}: FollowOptions): Promise<Searchable> {
  const searchable = await readSearchable(connection, definition, PATIENCE)
  onSearchable(searchable)
  return searchable
}

/**
 * Reads the list over this connection and follows its changes.
 * @throws Error when that has ended
 */
export async function follow(options: FollowOptions): Promise<never> {
  const { connection, timeout, log, onWay } = options
  const rootDse = await readRootDse(connection, timeout)
  const searchable = await lookAt(options)
  const { attributes, shownAs } = searchable
  const definition = withAttributes(options.definition, attributes, shownAs)
  const keeper = watched(options, searchable)
  const list = new WholeList(connection, rootDse, definition, timeout)
  for (const { name, load } of FEEDS) {
    const { feed } = await load()
    if (!feed.isAnnounced(rootDse, definition)) continue
    onWay(name)
    options.keeper.begin()
    try {
      return await feed.run({ ...options, keeper, rootDse, list })
    } catch (error) {
      if (!(error instanceof NotOffered)) throw error
      log.notice(`changes cannot be followed by ${name}: ${error.message}`)
    }
  }
  throw new DirectoryError('unproven', 'the directory offers no way to follow its list')
}

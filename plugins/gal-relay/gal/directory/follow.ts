// Follows the list in the best way that the directory offers in its root DSE. If the directory refuses
// one way, the next is tried.

import { DirectoryError } from '../../ldap/directory-error'
import { readRootDse } from '../../ldap/root-dse'
import { type FeedContext, type ListKeeper, NotOffered } from '../feeds/change-feed'
import { FEEDS, type FeedName } from '../feeds/table'
import { goodFor } from './known-searchable'
import { type ListDefinition, underOurNames, withAttributes } from './list-definition'
import { hidesEntries, readSearchable, type Searchable } from './searchable'
import { PATIENCE, WholeList } from './whole-list'

export interface FollowOptions extends Omit<FeedContext, 'rootDse' | 'list'> {
  readonly definition: ListDefinition
  /** Time allowed for the answer to a single request, milliseconds. */
  readonly timeout: number
  /** Called with the way that is tried next, before any entry is handed over. */
  readonly onWay: (name: FeedName) => void
  /** Called before any entry is handed over, and whenever the server has been examined again. */
  readonly onSearchable: (searchable: Searchable) => void
}

/** Checks now and then whether the whole list is still visible. */
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
      if (now - lookedAt >= countsFor) {
        searchable = await lookAt(options)
        lookedAt = performance.now()
        took = lookedAt - now
      }
      await keeper.confirmed(at)
    },
  }
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
 * @throws Error when following ends
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

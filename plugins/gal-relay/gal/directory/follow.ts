// Follows the list in the best way that the directory offers in its root DSE. If the directory refuses
// one way, the next is tried.

import type { Connection } from '../../ldap/connection'
import { DirectoryError } from '../../ldap/directory-error'
import { readRootDse } from '../../ldap/root-dse'
import { type FeedContext, type ListKeeper, NotOffered } from '../feeds/change-feed'
import { FEEDS, type FeedName } from '../feeds/table'
import { BaseSearch } from './base-search'
import { goodFor } from './known-searchable'
import { type ListDefinition, underOurNames, withAttributes } from './list-definition'
import { isAnyAway } from './parts-away'
import { hidesEntries, readSearchable, type Searchable } from './searchable'
import { PATIENCE, WholeList } from './whole-list'

export interface FollowOptions extends Omit<FeedContext, 'rootDse' | 'list'> {
  readonly definition: ListDefinition
  /** Opens a connection that may end without ending the others. @throws DirectoryError */
  readonly open: () => Promise<Connection>
  /** Time allowed for the answer to a single request, milliseconds. */
  readonly timeout: number
  /** What was seen of the same server at the last reading. */
  readonly before?: Searchable | undefined
  /** Told which way is tried, before anything is handed over. */
  readonly onWay: (name: FeedName) => void
  /** Called before any entry is handed over, and whenever the server has been examined again. */
  readonly onSearchable: (searchable: Searchable) => void
}

/** The server shows addresses that it did not show when the list was read, and no feed reports them. */
export class MoreShown extends Error {
  override readonly name = 'MoreShown'
  override readonly message = 'the directory shows more than before: the list is read again'
}

const addressNames = ({ attributes, shownAs }: Searchable) => [...attributes, ...shownAs].join()

/** Looks now and then whether all the list is still to be seen, and before entries are taken for gone. */
function watched(options: FollowOptions, first: Searchable, list: WholeList): ListKeeper {
  const { keeper, every } = options
  let searchable = first
  let lookedAt = performance.now()
  let took = 0
  let { references } = list
  const look = async () => {
    const startedAt = performance.now()
    references = list.references
    const before = searchable
    searchable = await (hidesEntries(before) ? lookAfresh : lookAt)(options, before)
    lookedAt = performance.now()
    took = lookedAt - startedAt
    const isMore = hidesEntries(before) || addressNames(searchable) !== addressNames(first)
    if (isMore && !hidesEntries(searchable)) throw new MoreShown()
  }
  return {
    begin: () => keeper.begin(),
    entry: (id, entry) => keeper.entry(id, underOurNames(entry, searchable.namedOtherwise)),
    gone: (id) => keeper.gone(id),
    holds: (id, entry) => keeper.holds(id, underOurNames(entry, searchable.namedOtherwise)),
    complete: () => keeper.complete(),
    compare() {
      const comparison = keeper.compare()
      return {
        seen: (id) => comparison.seen(id),
        unseen: () => comparison.unseen(),
        async end(mayRemove = true) {
          if (comparison.unseen() > 0 && (await isPartGone(options, searchable))) await look()
          // Those who are in a part of the tree that cannot be asked are not gone.
          return comparison.end(mayRemove && !searchable.isPartAway)
        },
      }
    },
    async confirmed(at) {
      const isHiding = hidesEntries(searchable)
      const countsFor = isHiding ? every : goodFor(searchable, took)
      const isNews = !isHiding && list.references > references
      if (isNews || performance.now() - lookedAt >= countsFor) await look()
      await keeper.confirmed(at)
    },
  }
}

/** Whether the entries of a container may be missing because it cannot be asked. */
async function isPartGone(
  { connection, definition: list }: FollowOptions,
  { containers, isPartAway }: Searchable,
): Promise<boolean> {
  const gone = list.bases.map((base, place) => {
    const search = new BaseSearch({ connection, list, patience: PATIENCE }, base)
    return isAnyAway(search, containers[place] ?? new Set())
  })
  return isPartAway || (await Promise.all(gone)).includes(true)
}

async function lookAt(
  { connection, definition, onSearchable }: FollowOptions,
  before: Searchable | undefined,
): Promise<Searchable> {
  const searchable = await readSearchable(connection, definition, PATIENCE, before)
  onSearchable(searchable)
  return searchable
}

/** Over a connection of its own, if there is one to be had: rights and limits may be those of the bind. */
async function lookAfresh(options: FollowOptions, before: Searchable): Promise<Searchable> {
  const connection = await options.open().catch(() => undefined)
  if (!connection) return lookAt(options, before)
  try {
    return await lookAt({ ...options, connection }, before)
  } finally {
    connection.close()
  }
}

/**
 * Reads the list over this connection and follows its changes.
 * @throws Error when following ends
 */
export async function follow(options: FollowOptions): Promise<never> {
  const { connection, timeout, log, onWay } = options
  const rootDse = await readRootDse(connection, timeout)
  const searchable = await lookAt(options, options.before)
  const { attributes, shownAs } = searchable
  const definition = withAttributes(options.definition, attributes, shownAs)
  const list = new WholeList(connection, rootDse, definition, timeout)
  const keeper = watched(options, searchable, list)
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

// Takes the best way there is to follow the list: what a directory offers stands in its root DSE, and a
// way that is refused is passed over for the next.
import type { LdapSettings } from '../../settings/settings'
import { FEEDS, type FeedContext, type FeedName, type ListKeeper, NotOffered } from './change-feed'
import { changedSince } from './changed-since'
import { DirectoryError } from './directory-error'
import { DIRSYNC, dirSync } from './dirsync'
import { goodFor } from './known-searchable'
import { isActiveDirectory, type RootDse, readRootDse } from './root-dse'
import { hidesEntries, readSearchable, type Searchable } from './searchable'
import { SYNC_REQUEST, syncrepl } from './syncrepl'
import { PATIENCE, WholeList } from './whole-list'

interface Way {
  isAnnounced(rootDse: RootDse, ldap: LdapSettings): boolean
  /**
   * Reads the list and follows it.
   * @throws NotOffered when another way must be taken
   * @throws DirectoryError when it has ended
   */
  run(context: FeedContext): Promise<never>
}

const WAYS: Readonly<Record<Exclude<FeedName, 'none'>, Way>> = {
  syncrepl: {
    // A server follows no alias for this, and tells nothing of what is behind one (RFC 4533 §3.1).
    isAnnounced: ({ controls }, { dereference }) =>
      controls.has(SYNC_REQUEST) && (dereference === 'never' || dereference === 'find'),
    run: syncrepl,
  },
  dirsync: {
    isAnnounced: (rootDse) => isActiveDirectory(rootDse) && rootDse.controls.has(DIRSYNC),
    run: dirSync,
  },
  usn: {
    isAnnounced: (rootDse) => rootDse.highestCommittedUsn !== undefined,
    run: (context) => changedSince('usn', context),
  },
  timestamps: {
    isAnnounced: () => true,
    run: (context) => changedSince('timestamps', context),
  },
}

export interface FollowOptions extends Omit<FeedContext, 'rootDse' | 'list'> {
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
    entry: (id, entry) => keeper.entry(id, entry),
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

async function lookAt({ connection, gal, ldap, onSearchable }: FollowOptions): Promise<Searchable> {
  const searchable = await readSearchable(connection, gal, ldap, PATIENCE)
  onSearchable(searchable)
  return searchable
}

/**
 * Reads the list over this connection and follows its changes.
 * @throws Error when that has ended
 */
export async function follow(options: FollowOptions): Promise<never> {
  const { connection, ldap, log, onWay } = options
  const rootDse = await readRootDse(connection, ldap.query_timeout)
  const searchable = await lookAt(options)
  const gal = { ...options.gal, attributes: [...searchable.attributes] }
  const keeper = watched(options, searchable)
  const list = new WholeList(connection, rootDse, gal, ldap)
  for (const name of FEEDS) {
    if (name === 'none' || !WAYS[name].isAnnounced(rootDse, ldap)) continue
    onWay(name)
    options.keeper.begin()
    try {
      return await WAYS[name].run({ ...options, gal, keeper, rootDse, list })
    } catch (error) {
      if (!(error instanceof NotOffered)) throw error
      log.notice(`changes of the list cannot be had by ${name}: ${error.message}`)
    }
  }
  throw new DirectoryError('unproven', 'the directory does not show its list')
}

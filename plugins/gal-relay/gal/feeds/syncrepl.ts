// LDAP content synchronization (RFC 4533), as in OpenLDAP's syncprov overlay: one search for each
// base returns all entries and then their changes as they happen, while the connection lives
// (refreshAndPersist). No cookie is used, because cookies are based on clocks.
import type { Connection } from '../../ldap/connection'
import {
  REFRESH_AND_PERSIST,
  readSyncInfo,
  readSyncState,
  SYNC_INFO,
  SYNC_REQUEST,
  syncRequest,
} from '../../ldap/content-sync'
import {
  DirectoryError,
  directoryError,
  NO_SUCH_OBJECT,
  printable,
  resultError,
} from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { equals, present } from '../../ldap/filter'
import { bounded } from '../../ldap/limits'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { Sink, Stream } from '../../ldap/search-result'
import { type ChangedEntries, changedEntries } from '../directory/changed-entries'
import { idIn, nameOf, uuidIn, uuidOf } from '../directory/entry-uuid'
import { whatIsLeftOut } from '../directory/left-out'
import { trySynchronization } from '../directory/sync-trial'
import {
  type ChangeFeed,
  Comparisons,
  dependsOnEntryAlone,
  type FeedContext,
  interruptible,
  isLimit,
  isRefusal,
  NotOffered,
} from './change-feed'

export const feed: ChangeFeed = {
  // In this operation a server follows no aliases and reports nothing behind them (RFC 4533 §3.1).
  isAnnounced: ({ controls }, { dereference }) =>
    controls.has(SYNC_REQUEST) && (dereference === 'never' || dereference === 'find'),
  run,
  trial: trySynchronization,
}

/**
 * Servers do not report entries that move along with a container. With OpenLDAP, containers are
 * watched too; if one moves, the feed ends and the list is read again. Nor do servers report
 * entries that the filter finds by their groups; then all entries are listed, as often as the load
 * allows. Other servers report neither moved containers nor restored backups, so all their entries
 * are read again, equally often. The same is done with OpenLDAP if a trial shows that changes were missed.
 */
async function run(context: FeedContext): Promise<never> {
  const { connection, keeper, list, rootDse } = context
  const [firstBase = ''] = list.bases
  const started: Synchronization[] = []
  let isTrusted = rootDse.isOpenLdap
  let isEnough = isTrusted && dependsOnEntryAlone(list.definition)
  const changed = new Set<string>()
  const tops: string[] = []
  const changes = changedEntries(context, tops)
  const comparisons = new Comparisons()
  const trials = new Comparisons(TRIAL_SHARE, TRIAL_AFTER * context.every)
  /** All searches have returned their entries. */
  let areRead = false
  let isComplete = false
  const confirm = async () => {
    const askedAt = Date.now()
    // The first connection, on which the list is read, must not be idle for long either.
    const connections = [...started, { connection, base: firstBase }]
    await Promise.all(connections.map((one) => ask(context, one)))
    await changes.settled()
    if (!isComplete) return
    await trials.run(async () => {
      const why = isTrusted && (await leftOut(context, changed))
      if (!why) return
      isTrusted = false
      isEnough = false
      context.log.warn(`not all changes are reported by syncrepl, so the list is compared: ${why}`)
    })
    const compare = isTrusted ? compareIds : compareAll
    const isCompared = !isEnough && (await comparisons.run(() => compare(context, changed)))
    if (isCompared || isEnough) await keeper.confirmed(askedAt)
  }
  const stopped = again(context, () => comparisons.wait(context.every / 2), confirm)
  stopped.catch(() => {})
  const begin = async <T extends Synchronization>(one: T): Promise<T> => {
    started.push(one)
    await Promise.race([one.refreshed, one.ended, stopped, untilStuck(context, one)])
    return one
  }
  try {
    for (const base of list.bases) tops.push(await nameOfBase(context, base))
    // Containers first, so that none moves unnoticed. Each search has its own connection: slapd
    // answers nothing else on a connection with half as many such searches as it has threads.
    for (const base of rootDse.isOpenLdap ? list.bases : [])
      await begin(watchContainers(await context.connect(), context, base))
    const searches = []
    for (const [index, search] of list.searches().entries()) {
      const own = await context.connect()
      const onChange = (id: Buffer) => {
        if (areRead) changed.add(id.toString('latin1'))
      }
      const one = synchronize(own, context, search, index, changes, onChange)
      searches.push(await begin(one))
    }
    areRead = true
    for (const one of searches) one.release()
    const ended = Promise.race([...started.map((one) => one.ended), stopped])
    ended.catch(() => {})
    const why = await Promise.race([leftOut(context, changed), ended])
    if (why) throw new NotOffered(why)
    await keeper.complete()
    isComplete = true
    await confirm()
    return await ended
  } finally {
    for (const one of started) {
      one.stream.abandon()
      one.connection.onEnd = () => {}
      one.connection.close()
    }
  }
}

/** A trusted server's changes are compared with a search every so many intervals, for this share of the time. */
const TRIAL_AFTER = 10
const TRIAL_SHARE = 200

const leftOut = (context: FeedContext, changed: Set<string>) =>
  whatIsLeftOut(context, changed, (base, id) => idIn(base, uuidOf(id)))

/** The longest silence in milliseconds before {@link untilStuck} looks into it. */
const QUIET = 20_000

/**
 * Some servers stop at a size limit, or at a part of the tree that is on another server, and report
 * nothing. If a plain search for the same entries returns all of them while this one returns nothing more,
 * it will never continue.
 * @throws NotOffered in that case
 * @throws DirectoryError if the plain search fails too
 */
async function untilStuck(
  { list, every, signal }: FeedContext,
  { progress }: Synchronization,
): Promise<void> {
  for (;;) {
    const { heard } = progress
    await interruptible(Math.min(every, QUIET), signal)
    if (progress.isRefreshed) return
    if (progress.heard !== heard) continue
    let found = 0
    await list.readIds(() => {
      found++
    })
    if (progress.isRefreshed) return
    if (progress.heard !== heard) continue
    throw new NotOffered(
      `it stopped after ${heard} entries where a search finds ${found}; ` +
        'does the server have a size limit for this account?',
    )
  }
}

/** A search with the synchronization control. */
interface Synchronization {
  readonly connection: Connection
  /** The base of the search. */
  readonly base: string
  readonly stream: Stream
  /** Resolves when all entries have arrived. */
  readonly refreshed: Promise<void>
  /** Rejects when the search ends; never resolves. */
  readonly ended: Promise<never>
  readonly progress: Progress
}

interface Progress {
  /** Entries received so far, including changes. */
  heard: number
  isRefreshed: boolean
}

interface Taker {
  /** Takes a new or changed entry. Must only throw DirectoryError, which ends the connection. */
  entry(uuid: Buffer, entry: Entry): void
  gone(uuid: Buffer): void
  /** All existing entries have arrived. */
  refreshed(): void
}

/**
 * Follows the entries of the list below one base.
 * @param onChange called for each entry that is new, changed or gone
 */
function synchronize(
  connection: Connection,
  { keeper, list }: FeedContext,
  search: Buffer,
  index: number,
  changes: ChangedEntries,
  onChange: (id: Buffer) => void,
): Synchronization & {
  /** Hands over the changes that arrived while other searches were still returning entries. */
  release(): void
} {
  let isRefreshed = false
  let held: (() => void)[] | undefined = []
  const handOver = (action: () => void) => {
    if (held) held.push(action)
    else action()
  }
  const synchronization = start(connection, list.bases[index] ?? '', search, {
    entry: (uuid, entry) => {
      const id = idIn(index, uuid)
      onChange(id)
      if (isRefreshed) handOver(() => changes.changed(id, entry))
      else keeper.entry(id, entry)
    },
    gone: (uuid) => {
      const id = idIn(index, uuid)
      onChange(id)
      if (isRefreshed) handOver(() => changes.gone(id))
      else keeper.gone(id)
    },
    refreshed: () => {
      isRefreshed = true
    },
  })
  const release = () => {
    const actions = held ?? []
    held = undefined
    for (const action of actions) action()
  }
  return { ...synchronization, release }
}

/**
 * Finds the entries that came and went without the server reporting them.
 * @param changed collects the ids of entries reported meanwhile, which are newer than what is read
 */
async function compareIds({ keeper, list }: FeedContext, changed: Set<string>): Promise<void> {
  changed.clear()
  const comparison = keeper.compare()
  await list.readIds((name, base) => comparison.seen(idIn(base, uuidOf(name))))
  for (const id of changed) comparison.seen(Buffer.from(id, 'latin1'))
  const unknown = (await comparison.end()).map((id) => Buffer.from(nameOf(uuidIn(id))))
  await list.readThese('entryUUID', unknown, (name, entry, base) => {
    const id = idIn(base, uuidOf(name))
    if (!changed.has(id.toString('latin1'))) keeper.entry(id, entry)
  })
}

/** Finds what came, went or changed without the server reporting it. @param changed see {@link compareIds} */
async function compareAll({ keeper, list }: FeedContext, changed: Set<string>): Promise<void> {
  changed.clear()
  const comparison = keeper.compare()
  await list.readAll((name, entry, base) => {
    const id = idIn(base, uuidOf(name))
    comparison.seen(id)
    if (!changed.has(id.toString('latin1'))) keeper.entry(id, entry)
  })
  for (const id of changed) comparison.seen(Buffer.from(id, 'latin1'))
  await comparison.end()
}

/** Watches the entries that have others below them. */
function watchContainers(
  connection: Connection,
  { log }: FeedContext,
  base: string,
): Synchronization {
  const names = new Map<string, string>()
  let isRefreshed = false
  const moved = (dn: string) => {
    log.info(`${printable(dn) || 'a part of the directory'} was moved`)
    connection.destroy(
      new DirectoryError('unproven', 'a part of the directory was moved with everything in it'),
    )
  }
  const search = searchRequest({
    base,
    scope: SCOPE.subtree,
    filter: equals('hasSubordinates', 'TRUE'),
    attributes: attributeList(['1.1']),
  })
  return start(connection, base, search, {
    entry(uuid, { dn }) {
      const id = uuid.toString('latin1')
      if (isRefreshed && names.get(id) !== dn) moved(dn)
      names.set(id, dn)
    },
    // A container without a known name was created, with what is below it, after the list was read.
    gone: (uuid) => moved(names.get(uuid.toString('latin1')) ?? ''),
    refreshed() {
      isRefreshed = true
    },
  })
}

function start(
  connection: Connection,
  base: string,
  search: Buffer,
  taker: Taker,
): Synchronization {
  const progress: Progress = { heard: 0, isRefreshed: false }
  let isRefreshed = () => {}
  const refreshed = new Promise<void>((resolve) => {
    isRefreshed = resolve
  })
  const sink: Sink = {
    entry(entry, controls) {
      const { uuid, isDeleted } = readSyncState(controls)
      progress.heard++
      if (isDeleted) taker.gone(uuid)
      else taker.entry(uuid, entry)
    },
    intermediate(name, value) {
      if (name !== SYNC_INFO) return
      const info = readSyncInfo(value)
      for (const uuid of info.deleted) taker.gone(uuid)
      if (!info.refreshDone) return
      taker.refreshed()
      progress.isRefreshed = true
      isRefreshed()
    },
  }
  const options = { controls: [syncRequest(REFRESH_AND_PERSIST)], patience: 0 }
  const stream = connection.stream(search, bounded(sink), options)
  const ended = stream.result.then(({ code, diagnostic }) => {
    const words = resultError(code, diagnostic).message
    if (!progress.isRefreshed && (isRefusal(code) || isLimit(code))) throw new NotOffered(words)
    throw new DirectoryError('result', `the synchronization ended: ${words}`, code)
  })
  ended.catch(() => {})
  return { connection, base, stream, refreshed, ended, progress }
}

async function again(
  { signal }: FeedContext,
  wait: () => number,
  action: () => Promise<void>,
): Promise<never> {
  for (;;) {
    await interruptible(wait(), signal)
    await action()
  }
}

/**
 * @returns the base's DN as the server writes it
 * @throws NotOffered if it has no entry of its own, as below some proxies, since it is asked for later
 */
async function nameOfBase(context: FeedContext, base: string): Promise<string> {
  try {
    return (await ask(context, { connection: context.connection, base })) ?? base
  } catch (error) {
    const { code, message } = directoryError(error)
    throw code === NO_SUCH_OBJECT ? new NotOffered(`base ${base}: ${message}`) : error
  }
}

/**
 * Searches for the base on the same connection. A server that answers has sent all changes before;
 * one that does not answer, or no longer has the base, will not report changes either.
 * @returns the DN of the base, if it is shown
 * @throws DirectoryError
 */
async function ask(
  { every, list }: FeedContext,
  { connection, base }: Pick<Synchronization, 'connection' | 'base'>,
): Promise<string | undefined> {
  const search = searchRequest({
    base,
    scope: SCOPE.base,
    filter: present('objectClass'),
    attributes: attributeList(['1.1']),
  })
  const patience = Math.max(every, list.timeout)
  const { code, diagnostic, entries } = await connection.search(search, patience)
  if (code !== 0) throw resultError(code, diagnostic)
  return entries[0]?.dn
}

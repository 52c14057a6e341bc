// The LDAP content synchronization operation (RFC 4533), as OpenLDAP's syncprov overlay does it: one
// search for each base brings all entries and then, in the moment they happen, their changes, for as
// long as the connection lives (refreshAndPersist). No cookie is used: those are made of clocks.
//
// Of entries that move because something above them does, nothing is told. With OpenLDAP that is
// watched too, and ends the feed: the list is read again. Nor is anything told of entries that a filter
// finds by their groups; then all that there are are listed, as often as is bearable. Other servers say
// nothing when a container moves or a backup is restored, so that all there is is read as often.
import { BerReader, enumerated, TAG, tlv } from '../../ldap/ber'
import type { Connection, Sink, Stream } from '../../ldap/connection'
import { controlValue } from '../../ldap/controls'
import { DirectoryError, printable, resultError } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { equals, present } from '../../ldap/filter'
import { bounded } from '../../ldap/limits'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import { requireNothingLeftOut } from '../directory/left-out'
import {
  Comparisons,
  type FeedContext,
  interruptible,
  isLimit,
  isRefusal,
  isToldOfAll,
  NotOffered,
} from './change-feed'

export const SYNC_REQUEST = '1.3.6.1.4.1.4203.1.9.1.1'
const SYNC_STATE = '1.3.6.1.4.1.4203.1.9.1.2'
const SYNC_INFO = '1.3.6.1.4.1.4203.1.9.1.4'

const REFRESH_AND_PERSIST = 3
const DELETED = 3
/** Bytes of an entryUUID. */
const UUID = 16
/** Choices of syncInfoValue (§2.5). */
const REFRESH_DELETE = 0xa1
const REFRESH_PRESENT = 0xa2
const ID_SET = 0xa3

export async function syncrepl(context: FeedContext): Promise<never> {
  const { connection, keeper, list, gal, rootDse } = context
  const [firstBase = ''] = list.bases
  const started: Synchronization[] = []
  const isEnough = rootDse.isOpenLdap && isToldOfAll(gal)
  const told = new Set<string>()
  const comparisons = new Comparisons()
  /** All searches have brought their entries. */
  let areRead = false
  let isComplete = false
  const confirm = async () => {
    const askedAt = Date.now()
    // The first connection, which the list is read over, must not be idle for long either.
    const connections = [...started, { connection, base: firstBase }]
    await Promise.all(connections.map((one) => ask(context, one)))
    if (!isComplete) return
    const compare = rootDse.isOpenLdap ? compareIds : compareAll
    const isCompared = !isEnough && (await comparisons.run(() => compare(context, told)))
    if (isCompared || isEnough) await keeper.confirmed(askedAt)
  }
  const stopped = again(context, () => comparisons.wait(context.every / 2), confirm)
  stopped.catch(() => {})
  const begin = async <T extends Synchronization>(one: T): Promise<T> => {
    started.push(one)
    await Promise.race([one.refreshed, one.ended, stopped])
    return one
  }
  try {
    // First, so that none is moved unseen. Each search has a connection of its own: slapd answers
    // nothing else on one that has half as many of them as it has threads.
    for (const base of rootDse.isOpenLdap ? list.bases : [])
      await begin(watchContainers(await context.connect(), context, base))
    const searches = []
    for (const [index, search] of list.searches().entries()) {
      const own = await context.connect()
      const onTold = (id: Buffer) => {
        if (areRead) told.add(id.toString('latin1'))
      }
      const one = synchronize(own, context, search, index, onTold)
      await Promise.race([begin(one), untilStuck(context, one)])
      searches.push(one)
    }
    areRead = true
    for (const one of searches) one.release()
    const ended = Promise.race([...started.map((one) => one.ended), stopped])
    ended.catch(() => {})
    const isWhole = requireNothingLeftOut(context, told, (base, id) => idIn(base, uuidOf(id)))
    await Promise.race([isWhole, ended])
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

/** Nothing comes for so long at most, milliseconds, before it is asked why. */
const QUIET = 20_000

/**
 * Some servers bring no more than a limit allows, and say neither that they have nor anything else.
 * A search that brings nothing while a plain one for the same brings all will bring nothing more.
 * @throws NotOffered then
 * @throws DirectoryError when the plain one fails too
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
        'has the server a size limit for this account?',
    )
  }
}

/** A search with the control. */
interface Synchronization {
  readonly connection: Connection
  /** Where it searches. */
  readonly base: string
  readonly stream: Stream
  /** All entries have come. */
  readonly refreshed: Promise<void>
  /** Only ever rejects. */
  readonly ended: Promise<never>
  readonly progress: Progress
}

interface Progress {
  /** Entries so far, changes included. */
  heard: number
  isRefreshed: boolean
}

interface Taker {
  /** An entry, new or changed. Must not throw anything but DirectoryError, which ends the connection. */
  entry(uuid: Buffer, entry: Entry): void
  gone(uuid: Buffer): void
  /** All there were have come. */
  refreshed(): void
}

/**
 * The entries of the list.
 * @param onTold called for each entry that is new, changed or gone
 */
function synchronize(
  connection: Connection,
  { keeper, list }: FeedContext,
  search: Buffer,
  index: number,
  onTold: (id: Buffer) => void,
): Synchronization & {
  /** Hands over the changes that came while other searches were still bringing their entries. */
  release(): void
} {
  const held: (() => void)[] = []
  let holds = false
  const handOver = (action: () => void) => {
    if (holds) held.push(action)
    else action()
  }
  const synchronization = start(connection, list.bases[index] ?? '', search, {
    entry: (uuid, entry) => {
      const id = idIn(index, uuid)
      onTold(id)
      handOver(() => keeper.entry(id, entry))
    },
    gone: (uuid) => {
      const id = idIn(index, uuid)
      onTold(id)
      handOver(() => keeper.gone(id))
    },
    refreshed: () => {
      holds = true
    },
  })
  const release = () => {
    holds = false
    for (const action of held.splice(0)) action()
  }
  return { ...synchronization, release }
}

/** An entry that moves from one base to another leaves the one and enters the other, in any order. */
function idIn(base: number, uuid: Buffer): Buffer {
  return Buffer.concat([Buffer.from([base]), uuid])
}

/**
 * Finds the entries that came and went without being told of.
 * @param told takes the ids of those that are told of meanwhile: what is read of them may be older
 */
async function compareIds({ keeper, list }: FeedContext, told: Set<string>): Promise<void> {
  told.clear()
  const comparison = keeper.compare()
  await list.readIds((name, base) => comparison.seen(idIn(base, uuidOf(name))))
  for (const id of told) comparison.seen(Buffer.from(id, 'latin1'))
  const unknown = comparison.end().map((id) => Buffer.from(nameOf(id.subarray(1))))
  await list.readThese('entryUUID', unknown, (name, entry, base) => {
    const id = idIn(base, uuidOf(name))
    if (!told.has(id.toString('latin1'))) keeper.entry(id, entry)
  })
}

/** Finds what came, went or changed without being told of. @param told as above */
async function compareAll({ keeper, list }: FeedContext, told: Set<string>): Promise<void> {
  told.clear()
  const comparison = keeper.compare()
  await list.readAll((name, entry, base) => {
    const id = idIn(base, uuidOf(name))
    comparison.seen(id)
    if (!told.has(id.toString('latin1'))) keeper.entry(id, entry)
  })
  for (const id of told) comparison.seen(Buffer.from(id, 'latin1'))
  comparison.end()
}

/** An entryUUID as it is written (RFC 4530), in 16 bytes. */
function uuidOf(name: Buffer): Buffer {
  return Buffer.from(name.toString('latin1').replaceAll('-', ''), 'hex')
}

function nameOf(uuid: Buffer): string {
  return uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** The entries that have others below them. */
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
      new DirectoryError('unproven', 'a part of the directory was moved with all that is in it'),
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
    // One without a name was made, with what is below it, after the list was read.
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
      const value = controlValue(controls, SYNC_STATE)
      if (!value) throw new DirectoryError('protocol', 'an entry without its synchronization state')
      const state = new BerReader(value, 0, value.length).expect(TAG.sequence).inside()
      const kind = state.expect(TAG.enumerated).number()
      state.expect(TAG.octets)
      const uuid = value.subarray(state.start, state.end)
      progress.heard++
      if (kind === DELETED) taker.gone(uuid)
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
  const request = tlv(TAG.sequence, enumerated(REFRESH_AND_PERSIST))
  const controls = [{ oid: SYNC_REQUEST, critical: true, value: request }]
  const stream = connection.stream(search, bounded(sink), { controls, patience: 0 })
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
 * On the same connection: a server that answers has sent the changes before that; one that does not
 * will not tell of changes either, and neither will one that has the base no more.
 * @throws DirectoryError
 */
async function ask(
  { every, ldap }: FeedContext,
  { connection, base }: Pick<Synchronization, 'connection' | 'base'>,
): Promise<void> {
  const search = searchRequest({
    base,
    scope: SCOPE.base,
    filter: present('objectClass'),
    attributes: attributeList(['1.1']),
  })
  const { code, diagnostic } = await connection.search(search, Math.max(every, ldap.query_timeout))
  if (code !== 0) throw resultError(code, diagnostic)
}

interface SyncInfo {
  readonly deleted: readonly Buffer[]
  readonly refreshDone: boolean
}

function readSyncInfo(value: Buffer): SyncInfo {
  const reader = new BerReader(value, 0, value.length)
  const choice = reader.next()
  const deleted: Buffer[] = []
  if (choice === REFRESH_DELETE || choice === REFRESH_PRESENT) {
    // Behind the cookie: refreshDone, TRUE unless it says otherwise.
    return { deleted, refreshDone: booleanIn(reader.inside()) ?? true }
  }
  if (choice === ID_SET) {
    const parts = reader.inside()
    let areDeleted = false
    while (parts.more) {
      const tag = parts.next()
      if (tag === TAG.boolean) areDeleted = value[parts.start] !== 0
      if (tag !== TAG.set || !areDeleted) continue
      const set = parts.inside()
      while (set.more) {
        set.expect(TAG.octets)
        if (set.end - set.start !== UUID) throw new DirectoryError('protocol', 'a bad entryUUID')
        deleted.push(value.subarray(set.start, set.end))
      }
    }
  }
  return { deleted, refreshDone: false }
}

function booleanIn(reader: BerReader): boolean | undefined {
  while (reader.more) {
    if (reader.next() === TAG.boolean) return reader.bytes[reader.start] !== 0
  }
  return undefined
}

// The LDAP content synchronization operation (RFC 4533), as OpenLDAP's syncprov overlay does it: one
// search for each base brings all entries and then, in the moment they happen, their changes, for as
// long as the connection lives (refreshAndPersist). No cookie is used: those are made of clocks.
import { BerReader, enumerated, TAG, tlv } from './ber'
import { type FeedContext, interruptible, isRefusal, NotOffered } from './change-feed'
import type { Sink, Stream } from './connection'
import { controlValue } from './controls'
import { DirectoryError, resultError } from './directory-error'
import { readRootDse } from './root-dse'

export const SYNC_REQUEST = '1.3.6.1.4.1.4203.1.9.1.1'
const SYNC_STATE = '1.3.6.1.4.1.4203.1.9.1.2'
const SYNC_INFO = '1.3.6.1.4.1.4203.1.9.1.4'

const REFRESH_AND_PERSIST = 3
const DELETED = 3
/** Choices of syncInfoValue (§2.5). */
const REFRESH_DELETE = 0xa1
const REFRESH_PRESENT = 0xa2
const ID_SET = 0xa3

export async function syncrepl(context: FeedContext): Promise<never> {
  const { keeper, list } = context
  const searches = list.searches().map((search, base) => synchronize(context, search, base))
  let isComplete = false
  const confirm = async () => {
    const askedAt = Date.now()
    await ask(context)
    if (isComplete) await keeper.confirmed(askedAt)
  }
  const ended = Promise.race([...searches.map((one) => one.ended), again(context, confirm)])
  ended.catch(() => {})
  try {
    await Promise.race([Promise.all(searches.map((one) => one.refreshed)), ended])
    await keeper.complete()
    isComplete = true
    for (const one of searches) one.release()
    await confirm()
    return await ended
  } finally {
    for (const one of searches) one.stream.abandon()
  }
}

interface Synchronization {
  readonly stream: Stream
  /** All entries have come. */
  readonly refreshed: Promise<void>
  /** Only ever rejects. */
  readonly ended: Promise<never>
  /** Hands over the changes that came while other searches were still bringing their entries. */
  release(): void
}

function synchronize(
  { connection, keeper }: FeedContext,
  search: Buffer,
  base: number,
): Synchronization {
  // An entry that moves from one base to another leaves the one and enters the other, in any order.
  const idOf = (uuid: Buffer) => Buffer.concat([Buffer.from([base]), uuid])
  let handedOver = false
  const held: (() => void)[] = []
  let holds = false
  const handOver = (action: () => void) => {
    if (holds) held.push(action)
    else action()
  }
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
      const id = idOf(value.subarray(state.start, state.end))
      handedOver = true
      handOver(() => (kind === DELETED ? keeper.gone(id) : keeper.entry(id, entry)))
    },
    intermediate(name, value) {
      if (name !== SYNC_INFO) return
      const info = readSyncInfo(value)
      for (const uuid of info.deleted) handOver(() => keeper.gone(idOf(uuid)))
      if (!info.refreshDone) return
      holds = true
      isRefreshed()
    },
  }

  const request = tlv(TAG.sequence, enumerated(REFRESH_AND_PERSIST))
  const controls = [{ oid: SYNC_REQUEST, critical: true, value: request }]
  const stream = connection.stream(search, sink, { controls, patience: 0 })
  const ended = stream.result.then(({ code, diagnostic }) => {
    const words = resultError(code, diagnostic).message
    if (!handedOver && isRefusal(code)) throw new NotOffered(words)
    throw new DirectoryError('result', `the synchronization ended: ${words}`, code)
  })
  ended.catch(() => {})
  const release = () => {
    holds = false
    for (const action of held.splice(0)) action()
  }
  return { stream, refreshed, ended, release }
}

async function again({ every, signal }: FeedContext, action: () => Promise<void>): Promise<never> {
  for (;;) {
    await interruptible(every / 2, signal)
    await action()
  }
}

/**
 * On the same connection: a server that answers has sent the changes before that; one that does not
 * will not tell of changes either.
 * @throws DirectoryError
 */
async function ask({ connection, every, ldap }: FeedContext): Promise<void> {
  await readRootDse(connection, Math.max(every, ldap.query_timeout))
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

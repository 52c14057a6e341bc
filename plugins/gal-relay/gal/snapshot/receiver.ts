// Keeps a list that another server reads and publishes: receives the whole list, puts it in force
// in a file of its own, and follows its changes. Each piece must be signed for this list, with the
// right number and place. A list older than the one in force is never accepted.

import { isDeepStrictEqual } from 'node:util'
import type { ListSource, NumberedList } from '../../fleet/carrier'
import { FileSource } from '../../fleet/file-carrier'
import { type ListKeys, readListKeys } from '../../fleet/list-keys'
import { RedisSource } from '../../fleet/redis-carrier'
import { openPiece, RefusedPiece } from '../../fleet/signed-piece'
import { guard } from '../../guard'
import { Backoff } from '../../ldap/backoff'
import type { Log } from '../../log'
import { carrierText, type ListChannel } from '../../settings/list-channel'
import { ROOT_AND_US } from '../../trusted-file'
import { listDefinition } from '../directory/list-definition'
import { interruptible, whenAborted } from '../feeds/change-feed'
import { type FeedName, feedNumbered } from '../feeds/table'
import { Notices } from '../notices'
import { removeUnfinished, SnapshotWriter } from './file'
import { contentOfHeader, readContent } from './file-content'
import { type Batch, decodeBatch, decodeHosts, HEADER_BYTES, UnusableFile } from './file-format'
import { fingerprintOf } from './fingerprint'
import { SKEW } from './follower'
import { decodeHead, type ListHead, PART_BYTES } from './list-head'
import { listOnDisk } from './list-on-disk'
import type { ListSettings } from './list-settings'
import { older, readMark, writeMark } from './received-mark'
import type { SyncReport } from './syncer'

/** How long to wait for news, or for a list if there is none, milliseconds. */
const PATIENCE = 2000
const AT_ONCE = 50

/** The list whose pieces were being read has been replaced. */
class Replaced extends Error {}

/** @throws Error if the carrier cannot be reached */
function openSource({ carrier, list }: ListChannel, signal: AbortSignal): Promise<ListSource> {
  return 'file' in carrier
    ? Promise.resolve(new FileSource(carrier.file, signal))
    : RedisSource.open(carrier.redis, list)
}

/**
 * Describes the published list, for people.
 * @returns `undefined` if there is none
 * @throws RefusedPiece, UntrustedFile, Error if it cannot be read
 */
export async function publishedList(
  channel: ListChannel,
): Promise<(ListHead & { readonly number: number }) | undefined> {
  const { key_file, trusted = ROOT_AND_US, list } = channel
  const keys = await readListKeys(key_file, trusted)
  const source = await openSource(channel, new AbortController().signal)
  try {
    const head = await source.head()
    if (!head) return undefined
    const { number, content } = openPiece(keys, { kind: 'head', list, at: 0 }, head)
    return { ...decodeHead(content), number }
  } finally {
    source.close()
  }
}

interface InForce {
  readonly number: number
  readonly parts: number
  /** How many of the list's changes are in force. */
  changes: number
  readonly writer: SnapshotWriter
}

export class Receiver {
  readonly #settings: ListSettings
  readonly #channel: ListChannel
  readonly #log: Log
  readonly #notices: Notices
  readonly #fingerprint: Buffer
  readonly #backoff = new Backoff(1000, 5000)
  #state: SyncReport['state'] = 'waiting'
  #feed: FeedName = 'none'
  #readAt: number | undefined
  #readFor: number | undefined
  #lastError: string | undefined
  #lastErrorAt: number | undefined
  #inForce: InForce | undefined
  #keys: ListKeys | undefined

  constructor(settings: ListSettings, channel: ListChannel, log: Log) {
    this.#settings = settings
    this.#channel = channel
    this.#log = log
    this.#notices = new Notices(log)
    this.#fingerprint = fingerprintOf(listDefinition(settings.gal, settings.ldap), channel)
  }

  report(): SyncReport {
    return {
      state: this.#state,
      server: carrierText(this.#channel),
      feed: this.#feed,
      entries: 0,
      readAt: this.#readAt,
      readFor: this.#readFor,
      lastError: this.#lastError,
      lastErrorAt: this.#lastErrorAt,
    }
  }

  /** Runs until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await removeUnfinished(this.#settings.snapshot.file).catch(() => {})
    while (!signal.aborted) {
      try {
        await this.#receive(signal)
      } catch (error) {
        if (signal.aborted) break
        this.#state = 'waiting'
        // If the list was replaced, or the secret has changed, try again at once.
        const isNext = error instanceof Replaced || (await this.#hasOtherKeys())
        if (!isNext) {
          this.#failed(error)
          this.#backoff.failed()
        }
      }
      await interruptible(this.#backoff.delay ?? AT_ONCE, signal).catch(() => {})
    }
    await this.#leave()
  }

  /** Whether the file with the secret has changed since it was read. */
  async #hasOtherKeys(): Promise<boolean> {
    const { key_file, trusted = ROOT_AND_US } = this.#channel
    const now = await readListKeys(key_file, trusted).catch(() => undefined)
    return now !== undefined && this.#keys !== undefined && !isDeepStrictEqual(now, this.#keys)
  }

  async #receive(signal: AbortSignal): Promise<void> {
    const { key_file, trusted = ROOT_AND_US, list } = this.#channel
    this.#keys = undefined
    const keys = await readListKeys(key_file, trusted)
    this.#keys = keys
    const source = await openSource(this.#channel, signal)
    const leave = () => source.close()
    const stop = whenAborted(signal, guard('end of receiving a list', leave, leave))
    try {
      let head = await source.head()
      for (; !head && !signal.aborted; head = await source.head()) {
        const where = carrierText(this.#channel)
        this.#notices.once('warn', `no list ${list} has been published to ${where} yet`)
        await interruptible(PATIENCE, signal)
      }
      if (head) await this.#take(source, keys, head, signal)
    } finally {
      stop()
      source.close()
    }
  }

  /** Receives the list with this head. If it is in force already, continues where it left off. */
  async #take(
    source: ListSource,
    keys: ListKeys,
    bytes: Buffer,
    signal: AbortSignal,
  ): Promise<void> {
    const { list } = this.#channel
    const { number, content } = openPiece(keys, { kind: 'head', list, at: 0 }, bytes)
    const head = this.#acceptable(decodeHead(content))
    const inForce = this.#inForce
    if (inForce?.number !== number || (await inForce.writer.place()) !== 'in force') {
      const next =
        (inForce ? undefined : await this.#fromDisk(source, keys, number, head)) ??
        (await this.#putInForce(source, keys, number, head))
      await this.#leave()
      this.#inForce = next
    }
    if (this.#inForce) await this.#follow(source, keys, this.#inForce, signal)
  }

  /** Continues the list from before a restart, if its last change is still published. */
  async #fromDisk(
    source: ListSource,
    keys: ListKeys,
    number: number,
    { parts }: ListHead,
  ): Promise<InForce | undefined> {
    const { file, trusted = ROOT_AND_US } = this.#settings.snapshot
    const { list } = this.#channel
    const found = await listOnDisk(file, list, number, this.#fingerprint, trusted)
    if (!found) return undefined
    const { writer, changes, last, takenAt } = found
    let isThere = false
    try {
      const from = changes - 1
      isThere = (await this.#changes(source, keys, { number, parts }, from, 0)).length > 0
    } finally {
      if (!isThere) await writer.close()
    }
    if (!isThere) return undefined
    this.#readAt = takenAt
    this.#noted([last])
    this.#log.notice(`the list is in force: list ${list} number ${number}, as it was on the disk`)
    return { number, parts, changes, writer }
  }

  async #putInForce(
    source: ListSource,
    keys: ListKeys,
    number: number,
    head: ListHead,
  ): Promise<InForce> {
    const { file, trusted = ROOT_AND_US } = this.#settings.snapshot
    const { list } = this.#channel
    const before = await readMark(file, list, trusted)
    if (number < before.number) throw new RefusedPiece(older(file, number, before))
    const { parts } = head
    this.#state = 'reading'
    const startedAt = Date.now()
    const { content, takenAt, key } = await this.#content(source, keys, number, head)
    const batches: Batch[] = []
    for (;;) {
      const more = await this.#changes(source, keys, { number, parts }, batches.length, 0)
      batches.push(...more)
      if (more.length === 0) break
    }
    const changes = batches.length
    if (number === before.number && changes < before.changes) {
      throw new RefusedPiece(older(file, number, before))
    }
    // From here on nothing older is accepted, even if this attempt fails.
    await writeMark(file, list, { number, changes })
    const { table, data } = content
    const meta = { key, fingerprint: this.#fingerprint, takenAt }
    const mailboxes = data && { ...data, hosts: [...decodeHosts(data.hosts)] }
    const writer = await SnapshotWriter.create(file, meta, table, batches, trusted, mailboxes)
    await writeMark(file, list, { number, changes, file: writer.sum })
    this.#readAt = startedAt
    this.#readFor = Date.now() - startedAt
    this.#noted(batches)
    this.#log.notice(
      `the list is in force: ${table.count} recipients, list ${list} number ${number}, published by ` +
        `${head.published_by} at ${new Date(head.published_at).toISOString()}`,
    )
    return { number, parts, changes, writer }
  }

  async #follow(
    source: ListSource,
    keys: ListKeys,
    inForce: InForce,
    signal: AbortSignal,
  ): Promise<void> {
    const { file } = this.#settings.snapshot
    const { number, writer } = inForce
    this.#state = 'following'
    // The first round does not wait: it takes what is there already.
    for (let patience = 0; !signal.aborted; patience = PATIENCE) {
      const news = await this.#changes(source, keys, inForce, inForce.changes, patience)
      this.#worked()
      if ((await writer.place()) !== 'in force') throw new Replaced()
      for (const batch of news) await writer.append(batch)
      if (news.length === 0) continue
      inForce.changes += news.length
      const { changes } = inForce
      await writeMark(file, this.#channel.list, { number, changes, file: writer.sum })
      this.#noted(news)
      if (patience > 0) this.#requireInTime(news)
    }
  }

  /** @param after how many changes have been received @throws Replaced, RefusedPiece */
  async #changes(
    source: ListSource,
    keys: ListKeys,
    { number, parts }: NumberedList,
    after: number,
    patience: number,
  ): Promise<Batch[]> {
    const { list } = this.#channel
    const { changes, isReplaced } = await source.news({ number, parts }, after + 1, patience)
    if (isReplaced) throw new Replaced()
    return changes.map((piece, index) => {
      const expected = { kind: 'change', list, number, at: after + 1 + index } as const
      const batch = decodeBatch(openPiece(keys, expected, piece).content)
      if (!batch) throw new UnusableFile('a change is damaged')
      return batch
    })
  }

  #noted(batches: readonly Batch[]): void {
    const last = batches.at(-1)
    if (!last) return
    this.#feed = feedNumbered(last.feed)
    if (last.confirmedAt - Date.now() > SKEW) this.#notices.once('warn', AHEAD)
  }

  /** Warns if news that has just come is late. */
  #requireInTime(news: readonly Batch[]): void {
    const confirmedAt = news.at(-1)?.confirmedAt ?? 0
    const isLate = Date.now() - confirmedAt > 2 * this.#settings.snapshot.changes_every
    if (confirmedAt > 0 && isLate) this.#notices.once('warn', LATE)
  }

  async #leave(): Promise<void> {
    const inForce = this.#inForce
    this.#inForce = undefined
    await inForce?.writer.close().catch(() => {})
  }

  #acceptable(head: ListHead): ListHead {
    const { role } = this.#channel
    if (role === 'share' && head.fingerprint !== this.#fingerprint.toString('hex')) {
      throw new RefusedPiece(
        `${head.published_by} has another base, filter or list of attributes than this server`,
      )
    }
    const { changes_every } = this.#settings.snapshot
    if (head.changes_every > changes_every) {
      this.#notices.once(
        'warn',
        `${head.published_by} confirms the list every ${head.changes_every / 1000} s, and this server wants ` +
          `that every ${changes_every / 1000} s: changes_every is to be the same on both`,
      )
    }
    return head
  }

  async #content(source: ListSource, keys: ListKeys, number: number, { bytes, parts }: ListHead) {
    const { list } = this.#channel
    let at = 0
    let rest: Buffer = Buffer.alloc(0)
    const read = async (into: Uint8Array) => {
      for (let filled = 0; filled < into.length; ) {
        if (rest.length === 0) {
          const piece = at < parts ? await source.part({ number, parts }, at) : undefined
          if (!piece) {
            await this.#requireStill(source, keys, number)
            throw new UnusableFile(`it is cut off: part ${at + 1} of ${parts} is missing`)
          }
          rest = openPiece(keys, { kind: 'part', list, number, at }, piece).content
          if (rest.length !== Math.min(PART_BYTES, bytes - at * PART_BYTES)) {
            throw new RefusedPiece('a part has another size')
          }
          at++
        }
        const some = rest.subarray(0, into.length - filled)
        into.set(some, filled)
        filled += some.length
        rest = rest.subarray(some.length)
      }
    }
    const header = Buffer.alloc(HEADER_BYTES)
    await read(header)
    const { meta, end } = contentOfHeader(header)
    if (end !== bytes) throw new UnusableFile('it is not as large as its head says')
    return { content: await readContent(header, read), ...meta }
  }

  /** @throws Replaced if another list has replaced the one being read */
  async #requireStill(source: ListSource, keys: ListKeys, number: number): Promise<void> {
    const head = await source.head()
    const { list } = this.#channel
    if (head && openPiece(keys, { kind: 'head', list, at: 0 }, head).number !== number)
      throw new Replaced()
  }

  #worked(): void {
    this.#backoff.reset()
    if (this.#lastError) this.#log.notice(`list ${this.#channel.list} is received again`)
    this.#lastError = undefined
  }

  #failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    const { list } = this.#channel
    const where = `list ${list} from ${carrierText(this.#channel)}`
    const text =
      error instanceof RefusedPiece || error instanceof UnusableFile
        ? `${where} is refused, and the one in force is kept: ${reason}`
        : `${where} cannot be received: ${reason}`
    if (text !== this.#lastError) this.#log.error(text)
    this.#lastError = text
    this.#lastErrorAt = Date.now()
  }
}

const AHEAD =
  'the list is not current: it was confirmed at a time that is still to come; the clock of this server or of ' +
  'the publisher is wrong'

const LATE =
  'the list is not current: what comes was confirmed longer ago than twice changes_every; it comes too seldom or ' +
  'too slowly, or a clock is wrong'

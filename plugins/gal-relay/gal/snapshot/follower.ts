// The list in a process that answers mail: read from the file and kept up to date with it. It never
// holds up mail: whatever takes long is done in small steps. It also knows how far the list may be
// relied on, and trusts no single clock for that.
import { lstat, unlink } from 'node:fs/promises'
import type { Log } from '../../log'
import type { Mailbox } from '../../routing/mailbox'
import type { Recipient } from '../../routing/recipient'
import { type Trusted, UntrustedFolder } from '../../trusted-file'
import { recipientKey } from '../address-key'
import { type FeedName, feedNumbered } from '../feeds/table'
import { Hasher } from './address-hash'
import { type AddressTable, NOT_IN_LIST } from './address-table'
import { applyBatch, SnapshotReader } from './file'
import { UnusableFile } from './file-format'
import { type FileFollower, followFile, leaveFile } from './file-watch'
import type { ListedMailboxes, UNREADABLE } from './listed-mailboxes'

/**
 * If an appended batch stays unreadable for this many milliseconds while more is appended, it is
 * damaged, and not just unfinished.
 */
const DAMAGED_AFTER = 5000
/** How much the clocks of machines that share a file may differ, milliseconds. */
export const SKEW = 5000

export interface FollowerOptions {
  readonly file: string
  readonly fingerprint: Buffer
  /** Owners whose files are trusted, besides root and ourselves. */
  readonly trusted?: Trusted | undefined
  /** How old the last confirmation of a list may be for it to count as current, milliseconds. */
  readonly currentFor: number
  readonly log: Log
}

interface List {
  readonly reader: SnapshotReader
  readonly table: AddressTable
  readonly mailboxes: ListedMailboxes | undefined
  readonly hasher: Hasher
  readonly takenAt: number
  feed: FeedName
  /** When the directory last confirmed it, milliseconds since 1970; 0: its feed was lost. */
  confirmedAt: number
  /** The last confirmation, even if the feed was lost since. */
  lastConfirmedAt: number
  /** When this process learned of that, on the monotonic clock. */
  learnedAt: number
  /** A change did not fit in the table; a new file is about to come. */
  isIncomplete: boolean
}

export class Follower implements FileFollower {
  readonly #options: FollowerOptions
  #list: List | undefined
  #ignored = ''
  /** Where the file becomes unreadable; its size when that was first seen, and when that was. */
  #unread: { readonly from: number; readonly size: number; readonly seenAt: number } | undefined
  #closed = false
  #loaded: Promise<void> | undefined

  constructor(options: FollowerOptions) {
    this.#options = options
  }

  /** Reads the file, if there is one, and follows it from then on. Settles once it is read. */
  start(): Promise<void> {
    this.#loaded ??= this.#look(false).finally(() => {
      if (!this.#closed) followFile(this)
    })
    return this.#loaded
  }

  get file(): string {
    return this.#options.file
  }

  look(): Promise<void> {
    this.#loaded = this.#look(true)
    return this.#loaded
  }

  /** There is a list; it may be old. */
  get hasList(): boolean {
    return this.#list !== undefined
  }

  get addresses(): number {
    return this.#list?.table.count ?? 0
  }

  get feed(): FeedName {
    return this.#list?.feed ?? 'none'
  }

  /** When the list was last known to be right, milliseconds since 1970. */
  get asOf(): number {
    const { lastConfirmedAt = 0, takenAt = 0 } = this.#list ?? {}
    return Math.max(lastConfirmedAt, takenAt)
  }

  /** The directory has just confirmed the list: an address that is not in it is not in the GAL. */
  get isCurrent(): boolean {
    const list = this.#list
    if (!list || list.isIncomplete || list.confirmedAt === 0) return false
    const { currentFor } = this.#options
    // The wall clock shows that this process or machine slept; the monotonic one, that the clock
    // was set.
    const age = Date.now() - list.confirmedAt
    return age <= currentFor && age >= -SKEW && performance.now() - list.learnedAt <= currentFor
  }

  /**
   * Whether the recipients in the list may be relied on. A list from the future shows that a clock
   * was wrong, and says nothing about its age.
   */
  isUsable(usableFor: number): boolean {
    const age = Date.now() - this.asOf
    return age <= usableFor && age >= -SKEW
  }

  /** @returns NOT_IN_LIST, IN_LIST or IN_LIST_AUTHENTICATED_ONLY */
  find(recipient: Recipient): number {
    const list = this.#list
    if (!list) return NOT_IN_LIST
    const { hi, lo } = list.hasher.recipient(recipient)
    return list.table.find(hi, lo)
  }

  /**
   * Where mail goes for a recipient who was just found in the list.
   * @returns `undefined` if the directory does not say
   */
  mailbox(recipient: Recipient): Mailbox | undefined | typeof UNREADABLE {
    const list = this.#list
    if (!list?.mailboxes) return undefined
    const { hi, lo } = list.hasher.recipient(recipient)
    return list.mailboxes.of(list.table, hi, lo, () => recipientKey(recipient))
  }

  async close(): Promise<void> {
    this.#closed = true
    leaveFile(this)
    await this.#loaded
    await this.#list?.reader.close()
  }

  /** @param isNews whether what it finds was written while we watched */
  async #look(isNews: boolean): Promise<void> {
    const { file, log } = this.#options
    try {
      const named = await lstat(file, { bigint: true })
      if (!this.#list?.reader.is(named)) await this.#load(isNews)
      else await this.#follow(this.#list, Number(named.size), isNews)
      this.#ignored = ''
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
      const reason = error instanceof Error ? error.message : String(error)
      if (reason === this.#ignored) return
      this.#ignored = reason
      const instead = this.#list
        ? 'the previous list stays in force'
        : error instanceof UntrustedFolder
          ? 'recipients are looked up one by one'
          : 'a new one will be made'
      log.error(`the snapshot in ${file} is not used: ${reason}; ${instead}`)
    }
  }

  async #follow(list: List, size: number, isNews: boolean): Promise<void> {
    await follow(list, size, isNews)
    const from = list.reader.readTo
    const unread = from < size ? this.#unread : undefined
    if (unread?.from !== from) {
      this.#unread = from < size ? { from, size, seenAt: performance.now() } : undefined
    } else if (size > unread.size && performance.now() - unread.seenAt > DAMAGED_AFTER) {
      // The process that keeps the list, and has just appended to it, notices and rewrites it.
      await unlink(this.#options.file)
      throw new UnusableFile('it is damaged and was removed')
    }
  }

  async #load(isNews: boolean): Promise<void> {
    const { file, fingerprint, trusted, log } = this.#options
    const reader = await SnapshotReader.open(file, fingerprint, trusted)
    const { table, mailboxes, meta } = reader
    const list: List = {
      reader,
      table,
      mailboxes,
      hasher: new Hasher(meta.key),
      takenAt: meta.takenAt,
      feed: 'none',
      confirmedAt: 0,
      lastConfirmedAt: 0,
      learnedAt: Number.NEGATIVE_INFINITY,
      isIncomplete: false,
    }
    try {
      await follow(list, reader.sizeAtFirst, isNews)
    } catch (error) {
      await reader.close()
      throw error
    }
    const before = this.#list
    this.#list = list
    await before?.reader.close()
    log.info(`snapshot: ${table.count} recipients, as of ${new Date(this.asOf).toISOString()}`)
  }
}

/** Applies appended batches. @param isNews whether they were appended while we watched */
async function follow(list: List, size: number, isNews: boolean): Promise<void> {
  for await (const batch of list.reader.batches(size)) {
    if (!(await applyBatch(batch, list.table, list.mailboxes))) list.isIncomplete = true
    const { confirmedAt } = batch
    list.feed = feedNumbered(batch.feed)
    if (confirmedAt === list.confirmedAt) continue
    list.confirmedAt = confirmedAt
    if (confirmedAt > 0) list.lastConfirmedAt = confirmedAt
    if (isNews) list.learnedAt = performance.now()
  }
}

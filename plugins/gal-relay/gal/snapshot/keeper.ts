// Keeps the list from one reading of the directory: collects all entries, compares the list with
// the previous one, puts it in force by writing it, and then appends changes. While the file cannot
// be written, the list in force stays in force, unconfirmed, and writing is tried again.
import { later } from '../../guard'
import type { Entry } from '../../ldap/entry'
import type { Log } from '../../log'
import type { SnapshotSettings } from '../../settings/settings'
import { addressKey } from '../address-key'
import { addressesOf, isTrue } from '../directory/entry-addresses'
import type { ListDefinition } from '../directory/list-definition'
import type { Comparison, ListKeeper } from '../feeds/change-feed'
import { type FeedName, feedNumber } from '../feeds/table'
import { mailboxIn } from '../mailbox-values'
import { hasChanges, piecesOf } from './batches'
import { SnapshotWriter } from './file'
import type { Batch } from './file-format'
import { fingerprintOf } from './fingerprint'
import { type Hash, Holdings } from './holdings'
import { type Changes, type Membership, MembershipBuilder } from './membership'

/** The list is not put in force, or its changes are no longer followed. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

export interface KeeperOptions {
  readonly list: ListDefinition
  readonly snapshot: SnapshotSettings
  /** The number of addresses that the list is compared with, if there was one before it. */
  readonly before: number | undefined
  /** Whatever the directory shows is right: the list may shrink by any number. */
  readonly force: boolean
  readonly log: Log
}

/** How long changes are collected before they are written, milliseconds. */
const FLUSH_AFTER = 50
/** A file is rewritten when its batches have outgrown its table and this many bytes. */
const BATCHES_LEAST = 4 << 20
/** Up to this many addresses that go one by one are not taken for an administrator's mistake. */
const FEW = 100
const PART_AWAY = 'part of the directory cannot be asked, and the list in force has more recipients'
const NOBODY = 'the directory shows no recipients at all'

const NOTHING: Changes = { added: new Uint32Array(0), removed: new Uint32Array(0) }

export class Keeper implements ListKeeper {
  /** The feed by which changes arrive. */
  feed: FeedName = 'none'
  /** How many entries have been read for the whole list. */
  entries = 0
  /** Why the list is not on the disk, and since when, milliseconds since 1970. */
  unwritten: string | undefined
  unwrittenAt: number | undefined

  /** Names of the attributes with addresses, in lower case, as the server shows them. */
  attributes: ReadonlySet<string>
  /** `false`: the directory has more than it shows here, so nobody counts as absent. */
  isWhole = true
  /** Part of the directory cannot be asked: a list that has more is not replaced. */
  isPartAway = false

  readonly #options: KeeperOptions
  readonly #takenAt = Date.now()
  readonly #early: Buffer[] = []
  #builder: MembershipBuilder | undefined
  #membership: Membership | undefined
  #isComplete = false
  #first = 0
  /** Set once too many of the `#first` addresses have gone: nothing is written any more. */
  #refusal: Refused | undefined
  #writer: SnapshotWriter | undefined
  /** Capacity of the table, and size of the file, when the file was written. */
  #capacity = 0
  #size = 0
  #confirmedAt = 0
  #timer: NodeJS.Timeout | undefined
  #work: Promise<void> = Promise.resolve()
  #ended = false

  constructor(options: KeeperOptions) {
    this.#options = options
    this.attributes = options.list.names
    this.#builder = this.#newBuilder()
  }

  get addresses(): number {
    return this.#membership?.table.count ?? 0
  }

  entry(id: Buffer, entry: Entry): void {
    const { mailbox: attributes } = this.#options.list
    const addresses = this.#addressesOf(entry)
    const flagged = this.#isFlagged(entry)
    const mailbox = attributes && mailboxIn(entry, attributes)
    if (this.#builder) {
      this.entries++
      this.#builder.add(id, addresses, flagged, mailbox)
    } else {
      this.#membership?.set(id, addresses, flagged, mailbox)
      this.#writeSoon()
    }
  }

  holds(id: Buffer, entry: Entry): boolean {
    const addresses = this.#addressesOf(entry)
    return this.#membership?.isAs(id, addresses, this.#isFlagged(entry)) ?? false
  }

  /** In their normal form. */
  #addressesOf(entry: Entry): Set<string> {
    return new Set(addressesOf(entry, this.attributes).map(addressKey))
  }

  #isFlagged(entry: Entry): boolean {
    const { flag } = this.#options.list
    return flag !== '' && isTrue(entry, flag)
  }

  begin(): void {
    if (this.#isComplete) throw new Error('complete already')
    this.entries = 0
    this.#early.length = 0
    this.#membership = undefined
    this.#builder = this.#newBuilder()
  }

  #newBuilder(): MembershipBuilder {
    return new MembershipBuilder(this.#options.list.mailbox !== undefined)
  }

  gone(id: Buffer): void {
    if (this.#builder) {
      this.#early.push(Buffer.from(id))
    } else {
      this.#membership?.set(id, [], false)
      this.#writeSoon()
    }
  }

  /**
   * Puts the list in force. If it cannot be written now, `unwritten` says why.
   * @throws Refused if the list must not be put in force
   */
  complete(): Promise<void> {
    if (this.#isComplete) throw new Error('complete already')
    const membership = this.#collected()
    membership.takeChanges()
    this.#requireEnough(membership.table.count)
    this.#isComplete = true
    this.#first = membership.table.count
    return this.#write()
  }

  /** @returns the list of all entries handed over so far */
  #collected(): Membership {
    const membership = this.#membership ?? this.#builder?.build()
    if (!membership) throw new Error('nothing has begun')
    this.#builder = undefined
    this.#membership = membership
    for (const id of this.#early.splice(0)) membership.set(id, [], false)
    return membership
  }

  /** @throws Refused if so many addresses have gone that it cannot be intended */
  confirmed(at: number): Promise<void> {
    return this.#write(this.isWhole ? at : undefined)
  }

  compare(): Comparison {
    const membership = this.#collected()
    const seen = new Holdings()
    const unknown: Buffer[] = []
    return {
      seen(id) {
        const entry = membership.entryOf(id)
        const isKnown = membership.holds(entry)
        if (seen.add(entry, SEEN) === undefined && !isKnown) unknown.push(Buffer.from(id))
        return isKnown
      },
      unseen() {
        let count = 0
        for (const entry of membership.entries()) if (seen.of(entry).length === 0) count++
        return count
      },
      end: (mayRemove = true) => {
        if (!mayRemove) return unknown
        const gone: Hash[] = []
        for (const entry of membership.entries()) {
          if (seen.of(entry).length === 0) gone.push(entry)
        }
        for (const entry of gone) membership.remove(entry)
        // Entries that are no longer shown all go at once, as they do in a new whole list.
        if (gone.length > 0) this.#requireNotShrunk(membership.table.count, 1)
        return unknown
      },
    }
  }

  /** Ends the list, and tells its users that the feed has ended. */
  async end(): Promise<void> {
    clearTimeout(this.#timer)
    this.#ended = true
    await this.#work.catch(() => {})
    const writer = this.#writer
    this.#writer = undefined
    const shrunkFrom = this.#refusal ? this.#first : 0
    await writer?.append({ ...this.#batch(NOTHING, 0), shrunkFrom }).catch(() => {})
    await writer?.close()
  }

  #writeSoon(): void {
    if (this.#timer || this.#ended || !this.#isComplete) return
    const free = () => {
      this.#timer = undefined
    }
    const write = async () => {
      free()
      // An error shows up at the next confirmation.
      await this.#write().catch(() => {})
    }
    this.#timer = later(FLUSH_AFTER, 'writing changes of the list', write, free)
  }

  /** Writes changes to the disk, and the time of confirmation if it is new. */
  #write(confirmedAt?: number): Promise<void> {
    this.#work = this.#work.then(
      () => this.#writeNow(confirmedAt),
      () => this.#writeNow(confirmedAt),
    )
    return this.#work
  }

  async #writeNow(confirmedAt: number | undefined): Promise<void> {
    const membership = this.#membership
    if (!membership || !this.#isComplete || this.#ended) return
    const place = await this.#writer?.place()
    if (place === 'replaced') throw new Refused('another list has been put in force')
    if (place === 'gone') await this.#leaveFile()
    // Checked last, because addresses that have gone in the meantime would be written, too.
    this.#requireNotShrunk(membership.table.count, FEW)
    if (membership.table.isFull) membership.layOutAnew()
    try {
      if (this.#isOutgrown(membership)) await this.#publish(membership, confirmedAt)
      else await this.#append(membership, confirmedAt)
      this.#written()
    } catch (error) {
      await this.#notWritten(error)
    }
  }

  #isOutgrown({ table }: Membership): boolean {
    if (!this.#writer || table.capacity !== this.#capacity) return true
    const batches = this.#writer.size - this.#size
    return batches > Math.max(BATCHES_LEAST, table.slots.byteLength)
  }

  async #publish(membership: Membership, confirmedAt = this.#confirmedAt): Promise<void> {
    const { list, snapshot } = this.#options
    const { file, trusted } = snapshot
    const fingerprint = fingerprintOf(list)
    const meta = { key: membership.key, fingerprint, takenAt: this.#takenAt }
    membership.takeChanges()
    // A copy, because the list changes while it is written.
    const { table, mailboxes } = membership.content()
    const first = this.#batch(NOTHING, confirmedAt)
    const writer = await SnapshotWriter.create(file, meta, table, first, trusted, mailboxes)
    this.#confirmedAt = confirmedAt
    await this.#writer?.close()
    this.#writer = writer
    this.#capacity = table.capacity
    this.#size = writer.size
  }

  async #append(membership: Membership, confirmedAt: number | undefined): Promise<void> {
    const changes = membership.takeChanges()
    const before = this.#confirmedAt
    if (confirmedAt !== undefined) this.#confirmedAt = confirmedAt
    else if (!hasChanges(changes)) return
    const pieces = piecesOf(changes)
    const [only] = pieces
    if (only && pieces.length === 1) {
      await this.#writer?.append(this.#batch(only))
      return
    }
    for (const piece of pieces) await this.#writer?.append(this.#batch(piece, before))
    await this.#writer?.append(this.#batch(NOTHING))
  }

  #batch(changes: Changes, confirmedAt = this.#confirmedAt): Batch {
    return { ...changes, confirmedAt, feed: feedNumber(this.feed) }
  }

  #written(): void {
    if (this.unwritten === undefined) return
    this.unwritten = undefined
    this.#options.log.notice(`the list is written to ${this.#options.snapshot.file} again`)
  }

  async #notWritten(error: unknown): Promise<void> {
    const { snapshot, log } = this.#options
    // Omit the system call: its file has a different name each time.
    const reason = String(error instanceof Error ? error.message : error).replace(
      /, \w+( '.*)?$/,
      '',
    )
    if (this.unwritten !== reason) {
      log.error(
        `the list cannot be written to ${snapshot.file}; the one in force is kept: ${reason}`,
      )
    }
    if (this.unwritten === undefined) this.unwrittenAt = Date.now()
    this.unwritten = reason
    await this.#leaveFile()
  }

  async #leaveFile(): Promise<void> {
    const writer = this.#writer
    this.#writer = undefined
    await writer?.close().catch(() => {})
  }

  #requireEnough(now: number): void {
    const { before, force, snapshot } = this.#options
    if (force) return
    if (now === 0) throw new Refused(NOBODY)
    if (before === undefined) return
    if (this.isPartAway && now < before) throw new Refused(PART_AWAY)
    const { shrink_limit } = snapshot
    const most = Math.max(1, Math.floor(before * shrink_limit))
    if (before - now > most) throw this.#shrunk(before, now)
  }

  /** @param few how many may go in any case */
  #requireNotShrunk(now: number, few: number): void {
    const { shrink_limit } = this.#options.snapshot
    const first = this.#first
    const most = Math.max(few, Math.floor(first * shrink_limit))
    if (first > 0 && now === 0) this.#refusal = new Refused(NOBODY)
    else if (first - now > most) this.#refusal = this.#shrunk(first, now)
    if (this.#refusal) throw this.#refusal
  }

  #shrunk(before: number, now: number): Refused {
    const { shrink_limit, forcedBy = 'gal-relay sync --force' } = this.#options.snapshot
    return new Refused(
      `the directory shows ${now} recipients where there were ${before}, fewer by more than ` +
        `shrink_limit (${Math.round(shrink_limit * 100)}%); if that is right: ${forcedBy}`,
    )
  }
}

/** Placeholder for an address, where only the entry matters. */
const SEEN: Hash = [0, 2]

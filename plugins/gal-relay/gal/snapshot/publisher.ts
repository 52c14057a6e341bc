// Publishes a list that is kept in a file: first the whole list as the file began, then each
// appended batch, byte for byte, in signed pieces. The list is never in memory. Publishing starts
// over if the file is replaced, or if the list is no longer where it was put.
import type { BigIntStats } from 'node:fs'
import { type FileHandle, lstat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { ListGone, type ListSink } from '../../fleet/carrier'
import { type ListKeys, readListKeys } from '../../fleet/list-keys'
import { LockLost } from '../../fleet/redis-carrier'
import { type PieceName, sealPiece } from '../../fleet/signed-piece'
import type { Log } from '../../log'
import { carrierText, type ListChannel } from '../../settings/list-channel'
import type { SnapshotSettings } from '../../settings/settings'
import { openOwn, ROOT_AND_US } from '../../trusted-file'
import { interruptible } from '../feeds/change-feed'
import { isSame, readBatch, readWhole } from './file'
import { contentOfHeader } from './file-content'
import { decodeBatch, FILE_MOST, HEADER_BYTES } from './file-format'
import { encodeHead, PART_BYTES } from './list-head'
import { writeMark } from './received-mark'

/** How often the publisher looks for changes in the file, milliseconds. */
const LOOK_EVERY = 100
/** How often the publisher checks that the list is still where it was put. */
const WHOLE_EVERY = 2000
const AFTER_FAILURE = 1000

interface OpenFile {
  readonly handle: FileHandle
  readonly identity: BigIntStats
  readonly keys: ListKeys
  /** Where the next batch begins. */
  at: number
  /** The place of the last published change. */
  changes: number
  readonly number: number
}

export interface PublisherOptions {
  readonly snapshot: SnapshotSettings
  readonly channel: ListChannel
  readonly sink: ListSink
  /** Lists read before this are not published: another server may have published a newer one. */
  readonly readSince: number
  /** Do not publish that the feed has ended: the list is read again later. */
  readonly isOnce?: boolean
  readonly log: Log
}

export class Publisher {
  readonly #options: PublisherOptions
  #open: OpenFile | undefined
  #problem = ''
  #lookAt = 0

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /**
   * Runs until `signal` is aborted.
   * @throws LockLost when another server publishes the list now
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        let wait = LOOK_EVERY
        try {
          await this.step()
          this.#worked()
        } catch (error) {
          if (error instanceof LockLost) throw error
          await this.#failed(error)
          wait = AFTER_FAILURE
        }
        await interruptible(wait, signal).catch(() => {})
      }
    } finally {
      await this.close()
    }
  }

  /** Publishes what is new. @returns whether there is a list to publish */
  async step(): Promise<boolean> {
    const { snapshot, sink, isOnce } = this.#options
    const named = await lstat(snapshot.file, { bigint: true }).catch(() => undefined)
    if (named && !(this.#open && isSame(this.#open.identity, named))) await this.#putWhole()
    const open = this.#open
    if (!open) return false
    const { size } = await open.handle.stat()
    for (;;) {
      const batch = await readBatch(open.handle, open.at, size)
      // A batch that is not fully written does not count.
      const decoded = batch && decodeBatch(batch)
      if (!decoded) break
      if (isOnce && decoded.confirmedAt === 0) {
        open.at += batch.length
        continue
      }
      const place = open.changes + 1
      await sink.append(place, this.#seal(open.keys, 'change', open.number, place, batch))
      open.changes++
      open.at += batch.length
    }
    if (performance.now() >= this.#lookAt) {
      await sink.look(open.changes)
      this.#lookAt = performance.now() + WHOLE_EVERY
    }
    return true
  }

  async close(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    await open?.handle.close().catch(() => {})
  }

  async #putWhole(): Promise<void> {
    const { snapshot, sink, channel, readSince, log } = this.#options
    const { file, trusted = ROOT_AND_US } = snapshot
    const handle = await openOwn(file, trusted, FILE_MOST)
    let isTaken = false
    try {
      const header = Buffer.alloc(HEADER_BYTES)
      await readWhole(handle, header, 0)
      const { meta, end } = contentOfHeader(header)
      if (meta.takenAt < readSince) return
      const keys = await this.#keys()
      const number = await sink.nextNumber()
      const head = encodeHead({
        bytes: end,
        fingerprint: meta.fingerprint.toString('hex'),
        changes_every: snapshot.changes_every,
        published_by: hostname(),
        published_at: Date.now(),
      })
      const parts = Math.ceil(end / PART_BYTES)
      const part = async (at: number) => {
        const bytes = Buffer.alloc(Math.min(PART_BYTES, end - at * PART_BYTES))
        await readWhole(handle, bytes, at * PART_BYTES)
        return this.#seal(keys, 'part', number, at, bytes)
      }
      await sink.put({ number, head: this.#seal(keys, 'head', number, 0, head), parts }, part)
      const identity = await handle.stat({ bigint: true })
      await this.close()
      this.#open = { handle, identity, keys, at: end, changes: 0, number }
      this.#lookAt = performance.now() + WHOLE_EVERY
      isTaken = true
      // If another server takes over, this one must accept nothing older than this list.
      if (channel.role === 'share') await writeMark(file, channel.list, { number, changes: 0 })
      log.notice(
        `the list ${channel.list} is published to ${carrierText(channel)}: number ${number}`,
      )
    } finally {
      if (!isTaken) await handle.close()
    }
  }

  #keys(): Promise<ListKeys> {
    const { key_file, trusted = ROOT_AND_US } = this.#options.channel
    return readListKeys(key_file, trusted)
  }

  #seal(
    [key]: ListKeys,
    kind: PieceName['kind'],
    number: number,
    at: number,
    bytes: Buffer,
  ): Buffer {
    return sealPiece(key, { kind, list: this.#options.channel.list, number, at }, bytes)
  }

  #worked(): void {
    if (this.#problem === '') return
    this.#problem = ''
    this.#options.log.notice(`the list ${this.#options.channel.list} is published again`)
  }

  async #failed(error: unknown): Promise<void> {
    const { channel, log } = this.#options
    const reason = error instanceof Error ? error.message : String(error)
    if (reason !== this.#problem) {
      log.error(`the list ${channel.list} cannot be published; it is tried again: ${reason}`)
    }
    this.#problem = reason
    // The whole list is put there again, including what could not be appended.
    if (error instanceof ListGone) await this.close()
  }
}

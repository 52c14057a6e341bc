// A list in a file that something else copies, such as rsync: head, parts and changes, each behind
// its length in 4 bytes. A new list is a new file that takes the old one's name once all of it is
// there. A copy may end anywhere: a piece that is not there to its end has not come yet.
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { unattended } from '../guard'
import {
  ListGone,
  type ListSink,
  type ListSource,
  type News,
  type NumberedList,
  type PublishedList,
} from './carrier'
import { lockFile } from './file-lock'
import { numberOf } from './signed-piece'

const LENGTH = 4
/** Enough for a part, or for a change as large as a batch can be. */
const PIECE_MOST = 8 << 20
const LOOK_EVERY = 500

export class FileSink implements ListSink {
  readonly #file: string
  #handle: FileHandle | undefined
  #size = 0
  #lastNumber: number
  readonly #unlock: () => void

  private constructor(file: string, lastNumber: number, unlock: () => void) {
    this.#file = file
    this.#lastNumber = lastNumber
    this.#unlock = unlock
  }

  /**
   * Opens a file for publishing. The list that is there now will be replaced.
   * @throws Error if another process publishes to the file, or it cannot be read
   */
  static async open(file: string): Promise<FileSink> {
    const unlock = await lockFile(file)
    const source = new FileSource(file, new AbortController().signal)
    try {
      const head = await source.head()
      return new FileSink(file, head ? numberOf(head) : 0, unlock)
    } catch (error) {
      unlock()
      throw error
    } finally {
      source.close()
    }
  }

  async nextNumber(): Promise<number> {
    this.#lastNumber = Math.max(Date.now(), this.#lastNumber + 1)
    return this.#lastNumber
  }

  async put(list: PublishedList, part: (at: number) => Promise<Buffer>): Promise<void> {
    const unfinished = `${this.#file}.unfinished`
    await unlink(unfinished).catch(() => {})
    // The content is encrypted, so any user may copy the file.
    const handle = await open(unfinished, 'wx', 0o644)
    try {
      let size = await write(handle, 0, list.head)
      for (let at = 0; at < list.parts; at++) size = await write(handle, size, await part(at))
      await handle.sync()
      await rename(unfinished, this.#file)
      await this.#handle?.close()
      this.#handle = handle
      this.#size = size
    } catch (error) {
      await handle.close()
      await unlink(unfinished).catch(() => {})
      throw error
    }
  }

  async append(_at: number, change: Buffer): Promise<void> {
    await this.look()
    if (this.#handle) this.#size = await write(this.#handle, this.#size, change)
  }

  async look(): Promise<void> {
    const mine = await this.#handle?.stat()
    const named = await lstat(this.#file).catch(() => undefined)
    if (mine && mine.ino === named?.ino && mine.dev === named.dev) return
    throw new ListGone(`${this.#file} is not there any more, or is another file`)
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    this.#unlock()
    await handle?.close()
  }
}

/** @returns where the next piece goes */
async function write(handle: FileHandle, at: number, piece: Buffer): Promise<number> {
  const bytes = Buffer.alloc(LENGTH + piece.length)
  bytes.writeUInt32LE(piece.length)
  piece.copy(bytes, LENGTH)
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await handle.write(
      bytes,
      written,
      bytes.length - written,
      at + written,
    )
    written += bytesWritten
  }
  return at + bytes.length
}

export class FileSource implements ListSource {
  readonly #file: string
  readonly #signal: AbortSignal
  #handle: FileHandle | undefined
  #head: Buffer | undefined
  /** Where each piece begins, as far as known: the head, the parts, the changes. */
  #starts: number[] = [0]

  constructor(file: string, signal: AbortSignal) {
    this.#file = file
    this.#signal = signal
  }

  async head(): Promise<Buffer | undefined> {
    await this.#handle?.close()
    this.#handle = await openFile(this.#file)
    this.#starts = [0]
    this.#head = await this.#piece(0)
    return this.#head
  }

  async part(_list: NumberedList, at: number): Promise<Buffer | undefined> {
    return this.#piece(at + 1)
  }

  async news({ parts }: NumberedList, from: number, patience: number): Promise<News> {
    const end = performance.now() + patience
    for (;;) {
      const isReplaced = await this.#reopened()
      const changes: Buffer[] = []
      while (!isReplaced) {
        const change = await this.#piece(parts + from + changes.length)
        if (!change) break
        changes.push(change)
      }
      if (isReplaced || changes.length > 0 || performance.now() >= end)
        return { changes, isReplaced }
      await sleep(LOOK_EVERY, undefined, { signal: this.#signal })
    }
  }

  close(): void {
    const handle = this.#handle
    if (handle) unattended('end of a file with a list', () => handle.close())
    this.#handle = undefined
  }

  /** Opens a new copy, which is a new file each time. @returns whether it has another list */
  async #reopened(): Promise<boolean> {
    const mine = await this.#handle?.stat()
    const named = await lstat(this.#file).catch(() => undefined)
    if (!named || (mine?.ino === named.ino && mine.dev === named.dev)) return false
    const before = { handle: this.#handle, starts: this.#starts }
    const handle = await openFile(this.#file)
    this.#handle = handle
    this.#starts = [0]
    const head = await this.#piece(0)
    if (head && this.#head?.equals(head)) {
      await before.handle?.close()
      return false
    }
    this.#handle = before.handle
    this.#starts = before.starts
    await handle?.close()
    // There may not even be a head yet.
    return head !== undefined
  }

  /** @returns `undefined` if the piece is not there to its end */
  async #piece(place: number): Promise<Buffer | undefined> {
    const handle = this.#handle
    if (!handle) return undefined
    const { size } = await handle.stat()
    for (;;) {
      const known = Math.min(place, this.#starts.length - 1)
      const start = this.#starts[known] ?? 0
      if (start + LENGTH > size) return undefined
      const header = Buffer.alloc(LENGTH)
      await handle.read(header, 0, LENGTH, start)
      const length = header.readUInt32LE()
      const next = start + LENGTH + length
      if (length > PIECE_MOST || next > size) return undefined
      this.#starts[known + 1] = next
      if (known < place) continue
      const piece = Buffer.alloc(length)
      await handle.read(piece, 0, length, start + LENGTH)
      return piece
    }
  }
}

/** Any user may own the file: its content is trusted if the signatures are right. */
async function openFile(file: string): Promise<FileHandle | undefined> {
  const { O_RDONLY, O_NONBLOCK } = constants
  const handle = await open(file, O_RDONLY | O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!handle || (await handle.stat()).isFile()) return handle
  await handle.close()
  throw new Error(`${file} is not a file`)
}

// The snapshot on disk: how mail processes, however many and whenever started, get the list and each
// change to it. One process writes; all others follow (follower.ts).
//
//   header   what list this is, how large, its key, and a SHA-256 of header and table
//   table    the slots exactly as they stand in memory
//   batches  appended one by one: what was added and removed since, and when the directory last
//            confirmed that this is all; each with a checksum of its own
//
// A new list is a new file that takes the old one's name when all of it is on the disk, so that at any
// moment, a killed process or a power cut included, the name stands for a whole list. A batch that was
// cut off is not one. Who has the old file open, a writer that was overtaken included, harms nobody.
import type { BigIntStats, Stats } from 'node:fs'
import { type FileHandle, lstat, open, readdir, rename, statfs, unlink } from 'node:fs/promises'
import path from 'node:path'
import { soon } from '../../guard'
import {
  isTrustedOwner,
  openOwn,
  ROOT_AND_US,
  requireOwnFolder,
  type Trusted,
} from '../../trusted-file'
import { AddressTable, SLOT_BYTES, slotsFor } from './address-table'
import {
  BATCH_BYTES_MOST,
  BATCH_HEADER,
  BATCH_SUM,
  type Batch,
  decodeBatch,
  decodeHeader,
  encodeBatch,
  encodeHeader,
  FILE_MOST,
  HEADER_BYTES,
  OtherSettings,
  type SnapshotMeta,
  SUM_AT,
  startSum,
  TABLE_MOST,
  UnusableFile,
} from './file-format'

/** So much is read and summed at a time: a millisecond or two. */
const CHUNK = 1 << 20

function bytesOf(table: AddressTable): Uint8Array {
  const { buffer, byteOffset, byteLength } = table.slots
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** An open snapshot file that is read from its start and then for what is appended. */
export class SnapshotReader {
  readonly #handle: FileHandle
  readonly #identity: BigIntStats
  /** Where the next batch starts. */
  #at: number

  private constructor(
    handle: FileHandle,
    identity: BigIntStats,
    at: number,
    readonly meta: SnapshotMeta,
    /** As the file began; whoever reads batches applies them. */
    readonly table: AddressTable,
  ) {
    this.#handle = handle
    this.#identity = identity
    this.#at = at
  }

  /**
   * Reads and checks the whole table, never much at a time.
   * @throws UnusableFile for anything but a whole snapshot for these settings
   * @throws UntrustedFile when others may have written it
   * @throws Error with a `code` such as ENOENT
   */
  static async open(
    file: string,
    fingerprint: Buffer,
    trusted = ROOT_AND_US,
  ): Promise<SnapshotReader> {
    const handle = await openOwn(file, trusted, FILE_MOST)
    try {
      const header = Buffer.alloc(HEADER_BYTES)
      await readWhole(handle, header, 0)
      const { capacity, count, sum, ...meta } = decodeHeader(header)
      if (!meta.fingerprint.equals(fingerprint)) {
        throw new OtherSettings()
      }
      const identity = await handle.stat({ bigint: true })
      const tableBytes = slotsFor(capacity) * SLOT_BYTES
      if (tableBytes > TABLE_MOST)
        throw new UnusableFile(`it claims room for ${capacity} recipients`)
      if (identity.size < HEADER_BYTES + tableBytes) throw new UnusableFile('it is cut off')
      const table = new AddressTable(new Uint32Array(tableBytes / 4), capacity, count)
      const bytes = bytesOf(table)
      const found = startSum(header)
      for (let at = 0; at < tableBytes; at += CHUNK) {
        const part = bytes.subarray(at, at + CHUNK)
        await readWhole(handle, part, HEADER_BYTES + at)
        found.update(part)
      }
      if (!found.digest().equals(sum)) throw new UnusableFile('it is damaged')
      return new SnapshotReader(handle, identity, HEADER_BYTES + tableBytes, meta, table)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** The file's size when it was opened. */
  get sizeAtFirst(): number {
    return Number(this.#identity.size)
  }

  /** Up to where it has been read: behind that is nothing, or no whole batch. */
  get readTo(): number {
    return this.#at
  }

  /** Whether this is what the name stands for now. */
  is(named: BigIntStats): boolean {
    return isSame(this.#identity, named)
  }

  /**
   * The whole batches that have been appended since the last call.
   * @param size of the file, now
   */
  async *batches(size: number): AsyncGenerator<Batch> {
    while (this.#at + BATCH_HEADER <= size) {
      const header = Buffer.alloc(BATCH_HEADER)
      await readWhole(this.#handle, header, this.#at)
      const length = header.readUInt32LE(0)
      if (length < BATCH_HEADER + BATCH_SUM || length > BATCH_BYTES_MOST) return
      if (this.#at + length > size) return
      const bytes = Buffer.alloc(length)
      await readWhole(this.#handle, bytes, this.#at)
      const batch = decodeBatch(bytes)
      if (!batch) return
      this.#at += length
      yield batch
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** A file's numbers stay its own as long as somebody has it open. */
function isSame(one: BigIntStats, other: BigIntStats): boolean {
  return one.ino === other.ino && one.dev === other.dev
}

async function readWhole(handle: FileHandle, into: Uint8Array, from: number): Promise<void> {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await handle.read(into, at, into.length - at, from + at)
    if (bytesRead === 0) throw new UnusableFile('it is cut off')
    at += bytesRead
  }
}

/** Changes applied in one turn of the event loop: well under a millisecond. */
const AT_A_TIME = 2000

/**
 * Brings a table to the state after the batch, a little at a time.
 * @returns false when something did not fit in
 */
export async function applyBatch({ added, removed }: Batch, table: AddressTable): Promise<boolean> {
  let fits = true
  for (let at = 0; at < added.length; at += 2) {
    if (!table.add(added[at] as number, added[at + 1] as number)) fits = false
    if (at % (AT_A_TIME * 2) === AT_A_TIME) await turn()
  }
  for (let at = 0; at < removed.length; at += 2) {
    table.remove(removed[at] as number, removed[at + 1] as number)
    if (at % (AT_A_TIME * 2) === AT_A_TIME) await turn()
  }
  return fits
}

function turn(): Promise<void> {
  return new Promise((resolve) => soon('the next step', resolve, () => resolve()))
}

/** The file of the list in force, open for appending batches. */
export class SnapshotWriter {
  readonly #handle: FileHandle
  readonly #file: string
  #size: number
  #broken = false

  private constructor(handle: FileHandle, file: string, size: number) {
    this.#handle = handle
    this.#file = file
    this.#size = size
  }

  /**
   * Writes a whole list under another name, makes sure that it is on the disk, and puts it in force.
   * @param first the first batch
   * @throws UntrustedFile when it would stand where others may write
   * @throws Error with a `code` such as ENOSPC; the list in force is then the old one
   */
  static async create(
    file: string,
    meta: SnapshotMeta,
    table: AddressTable,
    first: Batch,
    trusted = ROOT_AND_US,
  ): Promise<SnapshotWriter> {
    const folder = await requireOwnFolder(path.dirname(file), trusted)
    await requireRoom(path.dirname(file), HEADER_BYTES + table.slots.byteLength)
    const unfinished = `${file}.${process.pid}-${Date.now()}${UNFINISHED}`
    const handle = await open(unfinished, 'wx', 0o600)
    try {
      if (process.getuid?.() === 0) {
        const { uid, gid } = await ownerFor(file, folder, trusted)
        await handle.chown(uid, gid)
      }
      const header = encodeHeader(meta, table)
      const bytes = bytesOf(table)
      const sum = startSum(header)
      for (let at = 0; at < bytes.length; at += CHUNK) {
        const part = bytes.subarray(at, at + CHUNK)
        await writeWhole(handle, part, HEADER_BYTES + at)
        sum.update(part)
      }
      sum.digest().copy(header, SUM_AT)
      await writeWhole(handle, header, 0)
      const writer = new SnapshotWriter(handle, file, HEADER_BYTES + bytes.length)
      await writer.append(first)
      await handle.sync()
      await rename(unfinished, file)
      await syncFolder(path.dirname(file))
      return writer
    } catch (error) {
      await handle.close()
      await unlink(unfinished).catch(() => {})
      throw error
    }
  }

  get size(): number {
    return this.#size
  }

  /** @throws Error when it cannot be written; nothing may be appended to this file after that */
  async append(batch: Batch): Promise<void> {
    if (this.#broken) throw new Error('the file could not be written before')
    const bytes = encodeBatch(batch)
    try {
      await writeWhole(this.#handle, bytes, this.#size)
      this.#size += bytes.length
    } catch (error) {
      this.#broken = true
      throw error
    }
  }

  /** Whether this is still the list in force, or somebody has put another one there, or taken it away. */
  async place(): Promise<'in force' | 'replaced' | 'gone'> {
    const mine = await this.#handle.stat({ bigint: true })
    return lstat(this.#file, { bigint: true }).then(
      (named) => (isSame(mine, named) ? 'in force' : 'replaced'),
      ({ code }: NodeJS.ErrnoException) => (code === 'ENOENT' ? 'gone' : 'replaced'),
    )
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** Filling the disk in vain would take the room away from the changes of the list in force. */
async function requireRoom(folder: string, bytes: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder)
  if (blocks === 0 || bavail * bsize >= bytes) return
  throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
}

/** What root writes must be readable for Haraka, which mostly is another user: as the list before it, or the folder. */
async function ownerFor(file: string, folder: Stats, trusted: Trusted): Promise<Stats> {
  const before = await lstat(file).catch(() => undefined)
  return before?.isFile() && isTrustedOwner(before, trusted) ? before : folder
}

const UNFINISHED = '.unfinished'

/** Removes what writers that were killed left beside the file. Only for the one process that writes. */
export async function removeUnfinished(file: string): Promise<void> {
  const folder = path.dirname(file)
  const start = `${path.basename(file)}.`
  for (const name of await readdir(folder)) {
    if (name.startsWith(start) && name.endsWith(UNFINISHED)) {
      await unlink(path.join(folder, name)).catch(() => {})
    }
  }
}

async function writeWhole(handle: FileHandle, bytes: Uint8Array, to: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, to + at)
    at += bytesWritten
  }
}

// The new name itself must be on the disk. Not every system lets one open a folder.
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  try {
    await handle?.sync()
  } catch {
    // nor sync it
  } finally {
    await handle?.close()
  }
}

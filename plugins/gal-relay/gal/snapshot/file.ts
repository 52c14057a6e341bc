// The snapshot on disk, from which all mail processes get the list and each change to it, however
// many they are and whenever they start. One process writes; all others follow (follower.ts).
//
//   header   what list this is, how large, its key, and a SHA-256 of everything before the batches
//   table    the slots exactly as they are in memory
//   mailboxes  only if the directory says where mail goes: the numbers beside the slots, as they
//            are in memory, hosts, and sealed texts with their index
//   batches  appended one by one: what has been added and removed since, and when the directory
//            last confirmed that there are no other changes; each has its own checksum
//
// A new list is a new file. It takes the old file's name once all of it is on the disk. At any
// moment, even after a killed process or a power cut, the name refers to a whole list. A truncated
// batch does not count. A process that still has the old file open, even an overtaken writer, does
// no harm.
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
  UntrustedFile,
} from '../../trusted-file'
import type { AddressTable } from './address-table'
import { CHUNK, contentOfHeader, readContent } from './file-content'
import {
  BATCH_BYTES_MOST,
  BATCH_HEADER,
  BATCH_SUM,
  type Batch,
  bytesOf,
  decodeBatch,
  decodeHeader,
  decodeHosts,
  encodeBatch,
  encodeHeader,
  FILE_MOST,
  HEADER_BYTES,
  mailboxSections,
  OtherSettings,
  type SnapshotMeta,
  SUM_AT,
  startSum,
  UnusableFile,
} from './file-format'
import { ListedMailboxes, type MailboxData } from './listed-mailboxes'
import { SEALED } from './mailbox-numbers'

/** An open snapshot file. It is read from its start, and then whenever something is appended. */
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
    /** The table as the file began. The caller applies the batches to it. */
    readonly table: AddressTable,
    /** The mailboxes as the file began; set if the directory is asked where mail goes. */
    readonly mailboxes: ListedMailboxes | undefined,
    /** The checksum of header, table and mailboxes, in hexadecimal. */
    readonly sum: string,
  ) {
    this.#handle = handle
    this.#identity = identity
    this.#at = at
  }

  /**
   * Reads and checks the whole table in small steps.
   * @throws UnusableFile for anything but a whole snapshot for these settings
   * @throws UntrustedFile if others may have written it
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
      const { meta, end } = contentOfHeader(header)
      if (!meta.fingerprint.equals(fingerprint)) throw new OtherSettings()
      const identity = await handle.stat({ bigint: true })
      if (identity.size < end) throw new UnusableFile('it is cut off')
      const read = (into: Uint8Array, at: number) => readWhole(handle, into, at)
      const { table, data } = await readContent(header, read)
      const mailboxes = data && new ListedMailboxes(meta.key, data.index, data.sealed)
      if (mailboxes) await addHosts(mailboxes, decodeHosts(data.hosts))
      const sum = sumIn(header)
      return new SnapshotReader(handle, identity, end, meta, table, mailboxes, sum)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** The file's size when it was opened. */
  get sizeAtFirst(): number {
    return Number(this.#identity.size)
  }

  /** How far the file has been read. Behind that is nothing, or no whole batch. */
  get readTo(): number {
    return this.#at
  }

  /** Whether the file's name refers to this file now. */
  is(named: BigIntStats): boolean {
    return isSame(this.#identity, named)
  }

  /**
   * Reads the whole batches that have been appended since the last call.
   * @param size the current size of the file
   */
  async *batches(size: number): AsyncGenerator<Batch> {
    for (;;) {
      const bytes = await readBatch(this.#handle, this.#at, size)
      const batch = bytes && decodeBatch(bytes)
      if (!batch) return
      this.#at += bytes.length
      yield batch
    }
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** @returns `undefined` if there is no whole batch at this place */
export async function readBatch(
  handle: FileHandle,
  at: number,
  size: number,
): Promise<Buffer | undefined> {
  if (at + BATCH_HEADER > size) return undefined
  const header = Buffer.alloc(BATCH_HEADER)
  await readWhole(handle, header, at)
  const length = header.readUInt32LE(0)
  if (length < BATCH_HEADER + BATCH_SUM || length > BATCH_BYTES_MOST) return undefined
  if (at + length > size) return undefined
  const bytes = Buffer.alloc(length)
  await readWhole(handle, bytes, at)
  return bytes
}

/** While a file is open, no other file can get its inode number. */
export function isSame(one: BigIntStats, other: BigIntStats): boolean {
  return one.ino === other.ino && one.dev === other.dev
}

export async function readWhole(handle: FileHandle, into: Uint8Array, from: number): Promise<void> {
  for (let at = 0; at < into.length; ) {
    const { bytesRead } = await handle.read(into, at, into.length - at, from + at)
    if (bytesRead === 0) throw new UnusableFile('it is cut off')
    at += bytesRead
  }
}

async function addHosts(mailboxes: ListedMailboxes, hosts: Iterable<string>): Promise<void> {
  let added = 0
  for (const host of hosts) {
    mailboxes.addHost(host)
    if (++added % AT_A_TIME === 0) await turn()
  }
}

/** How many changes are applied in one turn of the event loop: well under a millisecond. */
const AT_A_TIME = 2000

/**
 * Applies a batch to a table in small steps. Meanwhile, no address lacks the data of its mailbox.
 * @returns false if something did not fit
 */
export async function applyBatch(
  { added, removed, mailboxes: changes }: Batch,
  table: AddressTable,
  mailboxes?: ListedMailboxes,
): Promise<boolean> {
  let fits = true
  if (mailboxes && changes) await addHosts(mailboxes, changes.hosts)
  let sealedAt = 0
  for (let at = 0; at < added.length; at += 2) {
    const hi = added[at] as number
    const lo = added[at + 1] as number
    const number = changes?.numbers[at / 2] ?? 0
    let sealed: Uint8Array | undefined
    if (changes && number === SEALED) {
      const end = sealedAt + 2 + changes.sealed.readUInt16LE(sealedAt)
      sealed = new Uint8Array(changes.sealed.subarray(sealedAt + 2, end))
      sealedAt = end
    }
    if (!table.add(hi, lo, number)) fits = false
    mailboxes?.set(hi, lo, sealed)
    if (at % (AT_A_TIME * 2) === AT_A_TIME) await turn()
  }
  for (let at = 0; at < removed.length; at += 2) {
    const hi = removed[at] as number
    const lo = removed[at + 1] as number
    table.remove(hi, lo)
    mailboxes?.set(hi, lo, undefined)
    if (at % (AT_A_TIME * 2) === AT_A_TIME) await turn()
  }
  return fits
}

const sumIn = (header: Buffer) => decodeHeader(header).sum.toString('hex')

function turn(): Promise<void> {
  return new Promise((resolve) => soon('the next step', resolve, () => resolve()))
}

/** The settings may name a device by mistake: `/dev/null` would be replaced by a list. */
async function requireNoDevice(file: string): Promise<void> {
  const stats = await lstat(file).catch(() => undefined)
  if (!stats || stats.isFile() || stats.isSymbolicLink()) return
  throw new UntrustedFile(`${file} is no file, and is not replaced: name another`)
}

/** The file of the list in force, open for appending batches. */
export class SnapshotWriter {
  readonly #handle: FileHandle
  readonly #file: string
  #size: number
  #broken = false

  private constructor(
    handle: FileHandle,
    file: string,
    size: number,
    /** The checksum of the list as the file began, in hexadecimal. */
    readonly sum: string,
  ) {
    this.#handle = handle
    this.#file = file
    this.#size = size
  }

  /**
   * Writes a whole list under another name, makes sure that it is on the disk, and puts it in
   * force.
   * @param first the first batches
   * @throws UntrustedFile if others may write to the folder, or the name is not that of a file
   * @throws Error with a `code` such as ENOSPC; the old list then stays in force
   */
  static async create(
    file: string,
    meta: SnapshotMeta,
    table: AddressTable,
    first: Batch | readonly Batch[],
    trusted = ROOT_AND_US,
    mailboxes?: MailboxData,
  ): Promise<SnapshotWriter> {
    const folder = await requireOwnFolder(path.dirname(file), trusted)
    await requireNoDevice(file)
    const { lengths, sections } = mailboxSections(table, mailboxes)
    const all = [bytesOf(table.slots), ...sections]
    const size = all.reduce((sum, { length }) => sum + length, HEADER_BYTES)
    await requireRoom(path.dirname(file), size)
    const unfinished = `${file}.${process.pid}-${Date.now()}${UNFINISHED}`
    const handle = await open(unfinished, 'wx', 0o600)
    try {
      if (process.getuid?.() === 0) {
        const { uid, gid } = await ownerFor(file, folder, trusted)
        await handle.chown(uid, gid)
      }
      const header = encodeHeader(meta, table, lengths)
      const sum = startSum(header)
      let at = HEADER_BYTES
      for (const bytes of all) {
        for (let from = 0; from < bytes.length; from += CHUNK) {
          const part = bytes.subarray(from, from + CHUNK)
          await writeWhole(handle, part, at)
          sum.update(part)
          at += part.length
        }
      }
      sum.digest().copy(header, SUM_AT)
      await writeWhole(handle, header, 0)
      const writer = new SnapshotWriter(handle, file, size, sumIn(header))
      for (const batch of [first].flat()) await writer.append(batch)
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

  /**
   * Continues a list that has been read to its end.
   * @returns `undefined` if another file has taken its name
   */
  static async goOn(file: string, reader: SnapshotReader): Promise<SnapshotWriter | undefined> {
    const handle = await open(file, 'r+')
    if (reader.is(await handle.stat({ bigint: true }))) {
      return new SnapshotWriter(handle, file, reader.readTo, reader.sum)
    }
    await handle.close()
    return undefined
  }

  get size(): number {
    return this.#size
  }

  /** @throws Error if it cannot be written; nothing may be appended to this file after that */
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

  /** Whether this is still the list in force, or has been replaced or removed. */
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

/** A futile attempt would fill the disk, and leave no room for changes of the list in force. */
async function requireRoom(folder: string, bytes: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder)
  if (blocks === 0 || bavail * bsize >= bytes) return
  throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
}

/**
 * Haraka usually runs as another user, and must be able to read what root writes. The file
 * therefore gets the owner of the previous list, or else of the folder.
 */
async function ownerFor(file: string, folder: Stats, trusted: Trusted): Promise<Stats> {
  const before = await lstat(file).catch(() => undefined)
  return before?.isFile() && isTrustedOwner(before, trusted) ? before : folder
}

const UNFINISHED = '.unfinished'

/** Removes files that killed writers left behind. Only the one process that writes may call it. */
export async function removeUnfinished(file: string): Promise<void> {
  const folder = path.dirname(file)
  const start = `${path.basename(file)}.`
  for (const name of await readdir(folder)) {
    // The name of another directory's list may begin like this one.
    const between = name.slice(start.length, -UNFINISHED.length)
    if (name.startsWith(start) && name.endsWith(UNFINISHED) && /^\d+-\d+$/.test(between)) {
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

// The new name itself must be on the disk. Not every system can open a folder.
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  try {
    await handle?.sync()
  } catch {
    // or sync it
  } finally {
    await handle?.close()
  }
}

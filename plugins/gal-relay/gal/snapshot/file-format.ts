// What stands in a snapshot file, byte by byte (file.ts says what for).
import { createHash, type Hash } from 'node:crypto'
import { KEY_BYTES } from './address-hash'
import { type AddressTable, SLOT_BYTES } from './address-table'

/** What a list holds besides its addresses. */
export interface SnapshotMeta {
  /** Under which the addresses are hashed. */
  readonly key: Buffer
  /** Of the settings that decide which addresses are in the list; 32 bytes. */
  readonly fingerprint: Buffer
  /** When the directory began to be read, milliseconds since 1970. */
  readonly takenAt: number
}

/** A step of a list's history. */
export interface Batch {
  /** Hashes as pairs of words, `hi` and `lo`, with flags. Additions come before removals. */
  readonly added: Uint32Array
  readonly removed: Uint32Array
  /** The directory, asked at this moment (milliseconds since 1970), showed no other changes. 0: the changes feed was lost. */
  readonly confirmedAt: number
  /** By which feed: its number (feeds/table.ts). */
  readonly feed: number
  /** The changes were followed no further, since too many of so many recipients went. */
  readonly shrunkFrom?: number
}

/** Why a file is not used. */
export class UnusableFile extends Error {
  override readonly name = 'UnusableFile'
}

/** It is a whole one, for other settings. */
export class OtherSettings extends UnusableFile {
  constructor() {
    super('it was made with another base, filter or list of attributes')
  }
}

const MAGIC = Buffer.from('GALRELAY')
const VERSION = 1
/** Reads as another number on a machine with the other order of bytes. */
const ORDER = 0x01020304
export const HEADER_BYTES = 128
export const SUM_AT = 96
const SUM_BYTES = 32
/** A hundred million recipients; whoever claims more is not to be given the memory. */
export const TABLE_MOST = 1 << 30
/** Batches take as much again, before the file is written anew. */
export const FILE_MOST = 4 * TABLE_MOST

export const BATCH_HEADER = 32
export const BATCH_SUM = 8
/** Hashes in one batch at most. */
export const BATCH_MOST = 100_000
export const BATCH_BYTES_MOST = BATCH_HEADER + BATCH_MOST * SLOT_BYTES + BATCH_SUM

export function encodeHeader(meta: SnapshotMeta, table: AddressTable): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  const words = new Uint32Array(header.buffer, header.byteOffset, 8)
  MAGIC.copy(header)
  words.set([VERSION, ORDER, table.capacity, table.count], 2)
  header.writeDoubleLE(meta.takenAt, 24)
  meta.key.copy(header, 32)
  meta.fingerprint.copy(header, 32 + KEY_BYTES)
  return header
}

interface Header extends SnapshotMeta {
  readonly capacity: number
  readonly count: number
  readonly sum: Buffer
}

export function decodeHeader(header: Buffer): Header {
  const words = new Uint32Array(header.buffer, header.byteOffset, 8)
  const [version, order, capacity, count] = words.subarray(2, 6) as unknown as number[]
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new UnusableFile('it is not a snapshot')
  }
  if (order !== ORDER) throw new UnusableFile('it comes from another kind of machine')
  if (version !== VERSION) throw new UnusableFile(`it has version ${version}, not ${VERSION}`)
  return {
    capacity: capacity as number,
    count: count as number,
    takenAt: header.readDoubleLE(24),
    key: Buffer.from(header.subarray(32, 32 + KEY_BYTES)),
    fingerprint: Buffer.from(header.subarray(32 + KEY_BYTES, 32 + KEY_BYTES + 32)),
    sum: Buffer.from(header.subarray(SUM_AT, SUM_AT + SUM_BYTES)),
  }
}

export function startSum(header: Buffer): Hash {
  return createHash('sha256').update(header.subarray(0, SUM_AT))
}

// Length, feed, number added, number removed, when confirmed, shrunk from, nothing yet; hashes; checksum
export function encodeBatch({ added, removed, confirmedAt, feed, shrunkFrom = 0 }: Batch): Buffer {
  const hashBytes = (added.length + removed.length) * 4
  const bytes = Buffer.alloc(BATCH_HEADER + hashBytes + BATCH_SUM)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeUInt32LE(feed, 4)
  bytes.writeUInt32LE(added.length / 2, 8)
  bytes.writeUInt32LE(removed.length / 2, 12)
  bytes.writeDoubleLE(confirmedAt, 16)
  bytes.writeUInt32LE(shrunkFrom, 24)
  const words = new Uint32Array(hashBytes / 4)
  words.set(added)
  words.set(removed, added.length)
  bytes.set(new Uint8Array(words.buffer), BATCH_HEADER)
  batchSum(bytes).copy(bytes, bytes.length - BATCH_SUM)
  return bytes
}

export function decodeBatch(bytes: Buffer): Batch | undefined {
  if (!batchSum(bytes).equals(bytes.subarray(bytes.length - BATCH_SUM))) return undefined
  const added = bytes.readUInt32LE(8) * 2
  const removed = bytes.readUInt32LE(12) * 2
  const end = BATCH_HEADER + (added + removed) * 4
  if (end + BATCH_SUM !== bytes.length) return undefined
  const words = new Uint32Array(new Uint8Array(bytes.subarray(BATCH_HEADER, end)).buffer)
  return {
    added: words.subarray(0, added),
    removed: words.subarray(added),
    confirmedAt: bytes.readDoubleLE(16),
    feed: bytes.readUInt32LE(4),
    shrunkFrom: bytes.readUInt32LE(24),
  }
}

function batchSum(bytes: Buffer): Buffer {
  const content = bytes.subarray(0, bytes.length - BATCH_SUM)
  return createHash('sha256').update(content).digest().subarray(0, BATCH_SUM)
}

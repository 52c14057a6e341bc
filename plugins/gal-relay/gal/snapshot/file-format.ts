// The snapshot file, byte by byte. file.ts describes its purpose.
import { createHash, type Hash } from 'node:crypto'
import { KEY_BYTES } from './address-hash'
import { type AddressTable, SLOT_BYTES, slotsFor } from './address-table'
import type { MailboxChanges } from './list-content'
import { INDEX_WORDS, type MailboxData } from './listed-mailboxes'
import { HOST_LONGEST, HOSTS_MOST } from './mailbox-numbers'

/** What a list holds besides its addresses. */
export interface SnapshotMeta {
  /** The key that addresses are hashed with. */
  readonly key: Buffer
  /** Fingerprint of the settings that decide which addresses are in the list; 32 bytes. */
  readonly fingerprint: Buffer
  /** When reading the directory began, milliseconds since 1970. */
  readonly takenAt: number
}

/** One step in the history of a list. */
export interface Batch {
  /** Hashes as pairs of words, `hi` and `lo`, with flags. Additions come before removals. */
  readonly added: Uint32Array
  readonly removed: Uint32Array
  /** Set if the directory is asked where mail goes; `undefined` if nothing was added. */
  readonly mailboxes?: MailboxChanges
  /**
   * When the directory was asked and showed no other changes, milliseconds since 1970.
   * 0: the changes feed was lost.
   */
  readonly confirmedAt: number
  /** The number of the feed that the changes came by (feeds/table.ts). */
  readonly feed: number
  /** If following stopped because too many recipients went: how many there were before; else 0. */
  readonly shrunkFrom?: number
}

/** The file is not used; the message says why. */
export class UnusableFile extends Error {
  override readonly name = 'UnusableFile'
}

/** The file is whole, but was made with other settings. */
export class OtherSettings extends UnusableFile {
  constructor() {
    super('it was made with a different base, filter or list of attributes')
  }
}

const MAGIC = Buffer.from('GALRELAY')
const VERSION = 1
/** Reads as a different number on a machine with the other byte order. */
const ORDER = 0x01020304
export const HEADER_BYTES = 128
export const SUM_AT = 96
const SUM_BYTES = 32
/**
 * Offset of four lengths in bytes: the table's numbers, hosts, index and sealed texts. All are 0 if
 * the directory is not asked where mail goes.
 */
const MAILBOXES_AT = 80
const HOSTS_BYTES_MOST = HOSTS_MOST * (2 + HOST_LONGEST)
/** A hundred million recipients. No memory is allocated for a file that claims more. */
export const TABLE_MOST = 1 << 30
/** Batches take up as much again before the file is rewritten. */
export const FILE_MOST = 4 * TABLE_MOST

export const BATCH_HEADER = 32
export const BATCH_SUM = 8
/** The most hashes in one batch. */
export const BATCH_MOST = 100_000
/** The most sealed bytes, and the most new hosts, in one batch. */
export const BATCH_SEALED_MOST = 1 << 20
export const BATCH_HOSTS_MOST = 2000
export const BATCH_BYTES_MOST =
  BATCH_HEADER +
  BATCH_MOST * (SLOT_BYTES + 2) +
  (4 + BATCH_HOSTS_MOST * (2 + HOST_LONGEST) + BATCH_SEALED_MOST) +
  BATCH_SUM

/** Lengths, in bytes, of the sections that follow the table. */
export interface MailboxLengths {
  readonly numbers: number
  readonly hosts: number
  readonly index: number
  readonly sealed: number
}

export function encodeHeader(
  meta: SnapshotMeta,
  table: AddressTable,
  { numbers, hosts, index, sealed }: MailboxLengths,
): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  const words = new Uint32Array(header.buffer, header.byteOffset, 8)
  MAGIC.copy(header)
  words.set([VERSION, ORDER, table.capacity, table.count], 2)
  header.writeDoubleLE(meta.takenAt, 24)
  meta.key.copy(header, 32)
  meta.fingerprint.copy(header, 32 + KEY_BYTES)
  for (const [place, length] of [numbers, hosts, index, sealed].entries()) {
    header.writeUInt32LE(length, MAILBOXES_AT + place * 4)
  }
  return header
}

interface Header extends SnapshotMeta {
  readonly capacity: number
  readonly count: number
  readonly lengths: MailboxLengths
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
  const lengthAt = (place: number) => header.readUInt32LE(MAILBOXES_AT + place * 4)
  const lengths = {
    numbers: lengthAt(0),
    hosts: lengthAt(1),
    index: lengthAt(2),
    sealed: lengthAt(3),
  }
  requirePossible(lengths, capacity as number)
  return {
    capacity: capacity as number,
    count: count as number,
    lengths,
    takenAt: header.readDoubleLE(24),
    key: Buffer.from(header.subarray(32, 32 + KEY_BYTES)),
    fingerprint: Buffer.from(header.subarray(32 + KEY_BYTES, 32 + KEY_BYTES + 32)),
    sum: Buffer.from(header.subarray(SUM_AT, SUM_AT + SUM_BYTES)),
  }
}

/** No memory is allocated for lengths that are not possible. */
function requirePossible({ numbers, hosts, index, sealed }: MailboxLengths, capacity: number) {
  const isPossible =
    (numbers === 0 ? hosts + index + sealed === 0 : numbers === slotsFor(capacity) * 2) &&
    hosts <= HOSTS_BYTES_MOST &&
    index % (INDEX_WORDS * 4) === 0 &&
    index <= slotsFor(capacity) * INDEX_WORDS * 4 &&
    sealed <= TABLE_MOST
  if (!isPossible) throw new UnusableFile('its data on mailboxes is not possible')
}

/** Encodes each host behind its length in two bytes. */
function encodeHosts(hosts: readonly string[]): Buffer {
  const parts = hosts.flatMap((host) => {
    const text = Buffer.from(host)
    const length = Buffer.alloc(2)
    length.writeUInt16LE(text.length)
    return [length, text]
  })
  return Buffer.concat(parts)
}

export function* decodeHosts(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 2 + bytes.readUInt16LE(at)
    yield bytes.toString('utf8', at + 2, end)
    at = end
  }
}

/** @throws Error if there is more than fits in a file */
export function mailboxSections(
  { mailboxes: numbers }: AddressTable,
  data: MailboxData | undefined,
): { readonly lengths: MailboxLengths; readonly sections: readonly Uint8Array[] } {
  if (!data || !numbers) {
    return { lengths: { numbers: 0, hosts: 0, index: 0, sealed: 0 }, sections: [] }
  }
  const hosts = encodeHosts(data.hosts)
  const { index, sealed } = data
  if (sealed.length > TABLE_MOST) throw new Error('there are too many routing addresses')
  return {
    lengths: {
      numbers: numbers.byteLength,
      hosts: hosts.length,
      index: index.byteLength,
      sealed: sealed.length,
    },
    sections: [bytesOf(numbers), hosts, bytesOf(index), sealed],
  }
}

export function bytesOf({
  buffer,
  byteOffset,
  byteLength,
}: Uint32Array | Uint16Array | Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

export function startSum(header: Buffer): Hash {
  return createHash('sha256').update(header.subarray(0, SUM_AT))
}

// Header: length, feed, number of additions, number of removals, confirmedAt, shrunkFrom, length of
// the mailboxes. Then the hashes; the mailboxes, if any (length of the hosts, hosts, a number for
// each addition, sealed texts); and the checksum.
export function encodeBatch(batch: Batch): Buffer {
  const { added, removed, confirmedAt, feed, shrunkFrom = 0 } = batch
  const hashBytes = (added.length + removed.length) * 4
  const mailboxes = encodeMailboxes(batch)
  const bytes = Buffer.alloc(BATCH_HEADER + hashBytes + mailboxes.length + BATCH_SUM)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeUInt32LE(feed, 4)
  bytes.writeUInt32LE(added.length / 2, 8)
  bytes.writeUInt32LE(removed.length / 2, 12)
  bytes.writeDoubleLE(confirmedAt, 16)
  bytes.writeUInt32LE(shrunkFrom, 24)
  bytes.writeUInt32LE(mailboxes.length, 28)
  const words = new Uint32Array(hashBytes / 4)
  words.set(added)
  words.set(removed, added.length)
  bytes.set(new Uint8Array(words.buffer), BATCH_HEADER)
  bytes.set(mailboxes, BATCH_HEADER + hashBytes)
  batchSum(bytes).copy(bytes, bytes.length - BATCH_SUM)
  return bytes
}

export function decodeBatch(bytes: Buffer): Batch | undefined {
  if (!batchSum(bytes).equals(bytes.subarray(bytes.length - BATCH_SUM))) return undefined
  const added = bytes.readUInt32LE(8) * 2
  const removed = bytes.readUInt32LE(12) * 2
  const end = BATCH_HEADER + (added + removed) * 4
  const mailboxBytes = bytes.readUInt32LE(28)
  if (end + mailboxBytes + BATCH_SUM !== bytes.length) return undefined
  const mailboxes = bytes.subarray(end, end + mailboxBytes)
  const words = new Uint32Array(new Uint8Array(bytes.subarray(BATCH_HEADER, end)).buffer)
  return {
    added: words.subarray(0, added),
    removed: words.subarray(added),
    ...(mailboxBytes > 0 && { mailboxes: decodeMailboxes(mailboxes, added / 2) }),
    confirmedAt: bytes.readDoubleLE(16),
    feed: bytes.readUInt32LE(4),
    shrunkFrom: bytes.readUInt32LE(24),
  }
}

function encodeMailboxes({ added, mailboxes }: Batch): Buffer {
  if (!mailboxes || (added.length === 0 && mailboxes.hosts.length === 0)) return Buffer.alloc(0)
  const hosts = encodeHosts(mailboxes.hosts)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(hosts.length)
  return Buffer.concat([length, hosts, bytesOf(mailboxes.numbers), mailboxes.sealed])
}

function decodeMailboxes(bytes: Buffer, added: number): MailboxChanges {
  const hostsEnd = 4 + bytes.readUInt32LE(0)
  const numbersEnd = hostsEnd + added * 2
  return {
    hosts: [...decodeHosts(bytes.subarray(4, hostsEnd))],
    numbers: new Uint16Array(new Uint8Array(bytes.subarray(hostsEnd, numbersEnd)).buffer),
    sealed: bytes.subarray(numbersEnd),
  }
}

function batchSum(bytes: Buffer): Buffer {
  const content = bytes.subarray(0, bytes.length - BATCH_SUM)
  return createHash('sha256').update(content).digest().subarray(0, BATCH_SUM)
}

// How a list begins, in a file or on its way from another server: header, table and mailboxes.
import { AddressTable, SLOT_BYTES, slotsFor } from './address-table'
import {
  bytesOf,
  decodeHeader,
  HEADER_BYTES,
  type SnapshotMeta,
  startSum,
  TABLE_MOST,
  UnusableFile,
} from './file-format'

/** How many bytes are read and hashed at a time: a millisecond or two. */
export const CHUNK = 1 << 20

export interface ReadContent {
  readonly table: AddressTable
  /** Set if the directory is asked where mail goes. */
  readonly data:
    | { readonly hosts: Buffer; readonly index: Uint32Array; readonly sealed: Uint8Array }
    | undefined
}

/**
 * @returns what the header says about the list, and where the list's content ends
 * @throws UnusableFile if it is not a header, or not a possible one
 */
export function contentOfHeader(header: Buffer): {
  readonly meta: SnapshotMeta
  readonly end: number
} {
  const { capacity, lengths, key, fingerprint, takenAt } = decodeHeader(header)
  const tableBytes = slotsFor(capacity) * SLOT_BYTES
  if (tableBytes > TABLE_MOST) throw new UnusableFile(`it claims room for ${capacity} recipients`)
  const rest = Object.values(lengths).reduce((sum, length) => sum + length, 0)
  return { meta: { key, fingerprint, takenAt }, end: HEADER_BYTES + tableBytes + rest }
}

/**
 * Reads and hashes the content in small steps.
 * @param read fills `into` with the bytes from offset `at` on
 * @throws UnusableFile if the content is damaged
 */
export async function readContent(
  header: Buffer,
  read: (into: Uint8Array, at: number) => Promise<void>,
): Promise<ReadContent> {
  const { capacity, count, lengths, sum } = decodeHeader(header)
  const slots = new Uint32Array((slotsFor(capacity) * SLOT_BYTES) / 4)
  const numbers = lengths.numbers > 0 ? new Uint16Array(lengths.numbers / 2) : undefined
  const hosts = Buffer.alloc(lengths.hosts)
  const index = new Uint32Array(lengths.index / 4)
  const sealed = new Uint8Array(lengths.sealed)
  const sections = [slots, ...(numbers ? [numbers, hosts, index, sealed] : [])].map(bytesOf)
  const found = startSum(header)
  let at = HEADER_BYTES
  for (const bytes of sections) {
    for (let from = 0; from < bytes.length; from += CHUNK) {
      const part = bytes.subarray(from, from + CHUNK)
      await read(part, at)
      found.update(part)
      at += part.length
    }
  }
  if (!found.digest().equals(sum)) throw new UnusableFile('it is damaged')
  const table = new AddressTable(slots, capacity, count, numbers)
  return { table, data: numbers && { hosts, index, sealed } }
}

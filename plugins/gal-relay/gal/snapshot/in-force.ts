// The list that is in force on the disk, as its last change left it.
import type { SnapshotSettings } from '../../settings/settings'
import type { ListDefinition } from '../directory/list-definition'
import { Hasher } from './address-hash'
import type { AddressTable } from './address-table'
import { applyBatch, SnapshotReader } from './file'
import { fingerprintOf } from './fingerprint'

export interface ListInForce {
  /** How many recipients. */
  readonly count: number
  /** As many, or those there were before too many went one by one: the next list is held against them. */
  readonly heldAgainst: number
  /** When its reading began, milliseconds since 1970. */
  readonly takenAt: number
  /** When the directory confirmed it last, milliseconds since 1970; 0: not since then. */
  readonly confirmedAt: number
  /** The same, or when its reading began: when it was last known to be right. */
  readonly asOf: number
  /**
   * @param key an address in its normal form
   * @returns NOT_IN_LIST, IN_LIST or IN_LIST_AUTHENTICATED_ONLY (address-table.ts)
   */
  find(key: string): number
}

/** @returns undefined when there is none for these settings, or it cannot be read */
export function listInForce(
  list: ListDefinition,
  snapshot: SnapshotSettings,
): Promise<ListInForce | undefined> {
  return readListInForce(list, snapshot).catch(() => undefined)
}

/** @throws UnusableFile, UntrustedFile, or Error with a `code` such as ENOENT */
export async function readListInForce(
  list: ListDefinition,
  { file, trusted }: SnapshotSettings,
): Promise<ListInForce> {
  const reader = await SnapshotReader.open(file, fingerprintOf(list), trusted)
  try {
    let confirmedAt = 0
    let shrunkFrom: number | undefined
    for await (const batch of reader.batches(reader.sizeAtFirst)) {
      await applyBatch(batch, reader.table)
      if (batch.confirmedAt > 0) confirmedAt = batch.confirmedAt
      shrunkFrom = batch.shrunkFrom
    }
    const { table, meta } = reader
    return listOf(table, meta.key, meta.takenAt, confirmedAt, shrunkFrom || table.count)
  } finally {
    await reader.close()
  }
}

function listOf(
  table: AddressTable,
  secret: Buffer,
  takenAt: number,
  confirmedAt: number,
  heldAgainst: number,
): ListInForce {
  const hasher = new Hasher(secret)
  return {
    count: table.count,
    heldAgainst,
    takenAt,
    confirmedAt,
    asOf: Math.max(takenAt, confirmedAt),
    find(key) {
      const { hi, lo } = hasher.address(key)
      return table.find(hi, lo)
    },
  }
}

// The list in force on the disk, with all its changes applied.
import type { Mailbox } from '../../routing/mailbox'
import type { Recipient } from '../../routing/recipient'
import type { SnapshotSettings } from '../../settings/settings'
import { recipientKey } from '../address-key'
import type { ListDefinition } from '../directory/list-definition'
import type { OtherNames } from '../other-names'
import { Hasher } from './address-hash'
import { NOT_IN_LIST } from './address-table'
import { applyBatch, SnapshotReader } from './file'
import { fingerprintOf } from './fingerprint'
import type { UNREADABLE } from './listed-mailboxes'

export interface ListInForce {
  /** How many recipients. */
  readonly count: number
  /**
   * The number that the next list is compared with: `count`, or, if too many recipients went one by
   * one, the number before that.
   */
  readonly heldAgainst: number
  /** When its reading began, milliseconds since 1970. */
  readonly takenAt: number
  /** When the directory last confirmed it, milliseconds since 1970; 0: not since it was read. */
  readonly confirmedAt: number
  /** When it was last known to be right: confirmed, or else when its reading began. */
  readonly asOf: number
  /**
   * @param key an address in its normal form
   * @returns NOT_IN_LIST, IN_LIST or IN_LIST_AUTHENTICATED_ONLY (address-table.ts)
   */
  find(key: string): number
  /**
   * @param key of an address that is in the list
   * @returns where its mail goes; `undefined` if the directory does not say
   */
  mailbox(key: string): Mailbox | undefined | typeof UNREADABLE
}

/** @returns the first of a recipient's names that the list has, in its normal form */
export function listedKey(
  list: ListInForce,
  recipient: Recipient,
  others: OtherNames | undefined,
): string | undefined {
  const key = recipientKey(recipient)
  if (list.find(key) !== NOT_IN_LIST) return key
  return others?.(recipient)
    .map(recipientKey)
    .find((one) => list.find(one) !== NOT_IN_LIST)
}

/** @returns `undefined` if there is no list for these settings, or it cannot be read */
export function listInForce(
  list: ListDefinition,
  snapshot: SnapshotSettings,
): Promise<ListInForce | undefined> {
  return readListInForce(list, snapshot).catch(() => undefined)
}

/** @throws UnusableFile, UntrustedFile, or Error with a `code` such as ENOENT */
export async function readListInForce(
  list: ListDefinition,
  { file, trusted, channel }: SnapshotSettings,
): Promise<ListInForce> {
  const reader = await SnapshotReader.open(file, fingerprintOf(list, channel), trusted)
  try {
    let confirmedAt = 0
    let shrunkFrom: number | undefined
    for await (const batch of reader.batches(reader.sizeAtFirst)) {
      await applyBatch(batch, reader.table, reader.mailboxes)
      if (batch.confirmedAt > 0) confirmedAt = batch.confirmedAt
      shrunkFrom = batch.shrunkFrom
    }
    return listOf(reader, confirmedAt, shrunkFrom)
  } finally {
    await reader.close()
  }
}

function listOf(
  { table, mailboxes, meta: { key: secret, takenAt } }: SnapshotReader,
  confirmedAt: number,
  shrunkFrom: number | undefined,
): ListInForce {
  const hasher = new Hasher(secret)
  return {
    count: table.count,
    heldAgainst: shrunkFrom || table.count,
    takenAt,
    confirmedAt,
    asOf: Math.max(takenAt, confirmedAt),
    find(key) {
      const { hi, lo } = hasher.address(key)
      return table.find(hi, lo)
    },
    mailbox(key) {
      const { hi, lo } = hasher.address(key)
      return mailboxes?.of(table, hi, lo, () => key)
    },
  }
}

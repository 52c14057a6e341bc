// The list that is in force on the disk, as its last change left it.
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
  /**
   * @param key of an address that is in the list
   * @returns where its mail goes; undefined where the directory says nothing of it
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

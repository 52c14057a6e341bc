// Fingerprint of everything that decides which addresses are in a list, what it says about them,
// and how they are hashed. A file made with other settings says nothing about a list with these.
import { createHash } from 'node:crypto'
import type { ListChannel } from '../../settings/list-channel'
import type { ListDefinition } from '../directory/list-definition'

/** Increase it when the normal form of addresses changes (address-key.ts, entry-addresses.ts). */
export const NORMAL_FORM = 2

/**
 * @param channel for a received list: its content was decided by the server that publishes it
 * @returns 32 bytes
 */
export function fingerprintOf(list: ListDefinition, channel?: ListChannel): Buffer {
  if (channel?.role === 'receive') {
    const parts = ['received', NORMAL_FORM, channel.list]
    return createHash('sha256').update(JSON.stringify(parts)).digest()
  }
  const { attributes, bases, dereference, filterText, flag, mailbox } = list
  const names = attributes.map((name) => name.toLowerCase()).sort()
  // A list that does not say where mail goes keeps the fingerprint it always had.
  const parts = [
    NORMAL_FORM,
    bases,
    dereference,
    filterText,
    names,
    flag,
    ...(mailbox ? [mailbox] : []),
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest()
}

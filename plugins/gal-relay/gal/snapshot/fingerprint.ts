// What decides which addresses are in a list, what it says of them, and how they are hashed. A file made under other settings
// says nothing about these.
import { createHash } from 'node:crypto'
import type { ListDefinition } from '../directory/list-definition'

/** To be raised when the normal form of addresses changes (address-key.ts, entry-addresses.ts). */
const NORMAL_FORM = 2

/** @returns 32 bytes */
export function fingerprintOf(list: ListDefinition): Buffer {
  const { attributes, bases, dereference, filterText, flag, mailbox } = list
  const names = attributes.map((name) => name.toLowerCase()).sort()
  // A list that does not say where mail goes has the one it always had.
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

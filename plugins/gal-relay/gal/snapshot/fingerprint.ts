// What decides which addresses are in a list and how they are hashed. A file made under other settings
// says nothing about these.
import { createHash } from 'node:crypto'
import type { ListDefinition } from '../directory/list-definition'

/** To be raised when the normal form of addresses changes (address-key.ts, entry-addresses.ts). */
const NORMAL_FORM = 2

/** @returns 32 bytes */
export function fingerprintOf(list: ListDefinition): Buffer {
  const { attributes, bases, dereference, filterText, flag } = list
  const names = attributes.map((name) => name.toLowerCase()).sort()
  const parts = [NORMAL_FORM, bases, dereference, filterText, names, flag]
  return createHash('sha256').update(JSON.stringify(parts)).digest()
}

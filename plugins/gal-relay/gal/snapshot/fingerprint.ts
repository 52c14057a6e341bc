// What decides which addresses are in a list and how they are hashed. A file made under other settings
// says nothing about these.
import { createHash } from 'node:crypto'
import type { GalSettings, LdapSettings } from '../../settings/settings'

/** To be raised when the normal form of addresses changes (address-key.ts, entry-addresses.ts). */
const NORMAL_FORM = 2

/** @returns 32 bytes */
export function fingerprintOf({
  gal,
  ldap,
}: {
  readonly gal: GalSettings
  readonly ldap: LdapSettings
}): Buffer {
  const names = gal.attributes.map((name) => name.toLowerCase()).sort()
  const flag = gal.authenticated_only_attribute.toLowerCase()
  const parts = [NORMAL_FORM, ldap.base, ldap.dereference, gal.filter, names, flag]
  return createHash('sha256').update(JSON.stringify(parts)).digest()
}

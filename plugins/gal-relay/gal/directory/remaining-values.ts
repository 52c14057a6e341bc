// Active Directory returns at most 1,500 values of an attribute at a time and says so in the attribute's
// name: `proxyAddresses;range=0-1499` (MS-ADTS 3.1.1.3.1.3.3). This module requests the rest.

import { DirectoryError, printable } from '../../ldap/directory-error'
import { type Attribute, type Entry, sizeOf } from '../../ldap/entry'
import { RANGES } from '../../ldap/limits'
import { requireSuccess, type Turn } from '../../ldap/turn'
import type { AddressSearch } from './address-search'

const RANGE = /^(.+);range=\d+-(\d+)$/i

/** Whether the entry has values that the server did not send. */
export function isCutShort(entry: Entry): boolean {
  return entry.attributes.some(({ type }) => RANGE.test(type))
}

/**
 * @returns an entry with the values that the server did not send at first
 * @throws DirectoryError
 */
export async function remainingValues(
  entry: Entry,
  search: AddressSearch,
  turn: Pick<Turn, 'search'>,
): Promise<Entry> {
  const attributes: Attribute[] = []
  let requests = 0
  let values = sizeOf(entry)
  for (const attribute of entry.attributes) {
    let range = RANGE.exec(attribute.type)
    while (range) {
      if (requests++ === RANGES.requests || values > RANGES.values) {
        const text = `${printable(entry.dn)} has more than ${RANGES.values} values, or too many ranges`
        throw new DirectoryError('oversize', text)
      }
      const [, name = '', last = ''] = range
      const request = `${name};range=${Number(last) + 1}-*`
      const results = await turn.search([search.forValues(entry.dn, request)])
      requireSuccess(results)
      const next = results[0]?.entries[0]?.attributes.find(({ type }) =>
        type.toLowerCase().startsWith(`${name.toLowerCase()};range=`),
      )
      if (!next) throw new DirectoryError('unproven', `${entry.dn} does not show all its values`)
      attributes.push(next)
      values += next.values.length
      range = RANGE.exec(next.type)
    }
  }
  return { dn: entry.dn, attributes }
}

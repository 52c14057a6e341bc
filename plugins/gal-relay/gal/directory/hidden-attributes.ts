// Entries that do not tell this account whether they have an attribute, while others do: hidden in a part
// of the tree, or by a filter. Neither its presence nor the negation of that holds for them
// (RFC 4511 §4.5.1.7), so they are missing among the entries for which one of the two holds.

import { and, equals, not, or, present } from '../../ldap/filter'
import { type BaseSearch, type Doubt, SAMPLE } from './base-search'
import { type ListDefinition, matching } from './list-definition'

/** Entries of which the names are looked at. */
const LOOKED_AT = 1000

/** A person without a visible address may have a hidden one; other kinds of entries seldom have any. */
const PERSON = equals('objectClass', 'person')

/** Holds for every entry but those that hide it. */
const isDecided = (attribute: string) => or(present(attribute), not(present(attribute)))

/**
 * Attributes of addresses: by what they hide nobody is found.
 *
 * @param attributes those of the list that are looked at, by the names that the server knows
 * @returns by attribute
 */
export async function hiddenAttributes(
  search: BaseSearch,
  attributes: readonly string[],
): Promise<Map<string, Doubt>> {
  const hidden = new Map<string, Doubt>()
  if (attributes.length === 0) return hidden
  const have = ofRecipients(search.list)
  const dns = await missingAmong(search, have, and(...attributes.map(isDecided)))
  for (const dn of dns) {
    for (const attribute of attributes) {
      if (hidden.has(attribute)) continue
      if (!(await isMissing(search, dn, have, isDecided(attribute)))) continue
      hidden.set(attribute, hides(search, attribute, dn))
    }
  }
  return hidden
}

/**
 * An attribute that is only read: what an entry shows it tells, whether it may be searched for or not.
 *
 * @param attribute one that the server knows
 * @returns for people; undefined when nothing is hidden
 */
export async function hiddenWhenRead(
  search: BaseSearch,
  attribute: string,
): Promise<string | undefined> {
  const have = ofRecipients(search.list)
  for (const dn of await missingAmong(search, have, isDecided(attribute))) {
    if (!(await isMissing(search, dn, have, isDecided(attribute)))) continue
    const { entries } = await search.findAt(dn, have, [attribute])
    const isShown = entries.some(({ attributes }) => attributes.length > 0)
    if (!isShown) return hides(search, attribute, dn).text
  }
  return undefined
}

/** Entries that have an address, or may have a hidden one. */
export const ofRecipients = (list: ListDefinition) =>
  matching(list, or(...list.attributes.map(present), PERSON))

const hides = (search: BaseSearch, attribute: string, dn: string) =>
  search.hidden(attribute, dn, 'it has it', 'search for it and read it on all entries')

/**
 * Where the filter is false or true whatever an attribute says, nothing is hidden; what the server does not
 * know at all is unknown of every entry alike.
 *
 * @param attributes those of the filter that the server knows
 */
export async function hiddenFromFilter(
  search: BaseSearch,
  attributes: readonly string[],
): Promise<Doubt | undefined> {
  const { filter, attributes: addresses } = search.list
  if (!filter || attributes.length === 0) return undefined
  const have = or(...addresses.map(present))
  const decided = or(filter, not(filter), and(...attributes.map(isDecided)))
  for (const dn of await missingAmong(search, have, decided)) {
    if (!(await isMissing(search, dn, have, decided))) continue
    const right = `search for ${attributes.join(', ')} on all entries`
    return search.hidden('filter', dn, 'it matches', right)
  }
  return undefined
}

async function missingAmong(search: BaseSearch, have: Buffer, decided: Buffer): Promise<string[]> {
  const [all, some] = await Promise.all([
    search.find(have, undefined, LOOKED_AT),
    search.find(and(have, decided), undefined, LOOKED_AT),
  ])
  const names = new Set(some.entries.map(({ dn }) => dn.toLowerCase()))
  const missing = all.entries.filter(({ dn }) => !names.has(dn.toLowerCase()))
  return missing.slice(0, SAMPLE).map(({ dn }) => dn)
}

/** It may have come in between, or a limit was met. */
async function isMissing(
  search: BaseSearch,
  dn: string,
  have: Buffer,
  decided: Buffer,
): Promise<boolean> {
  const [one, same] = await Promise.all([
    search.findAt(dn, have),
    search.findAt(dn, and(have, decided)),
  ])
  return same.code === 0 && same.entries.length === 0 && one.entries.length > 0
}

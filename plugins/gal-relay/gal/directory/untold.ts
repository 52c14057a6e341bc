// Entries that do not tell this account whether they have an attribute, while others do: hidden in a part
// of the tree, or by a filter. Neither a comparison of it nor the negation of that is true of them
// (RFC 4511 §4.5.1.7), so they are missing among the entries of which one of the two is.

import { printable } from '../../ldap/directory-error'
import { and, equals, not, or, present } from '../../ldap/filter'
import { aboutBase, type BaseSearch, type Doubt, SAMPLE } from './base-search'
import { type ListDefinition, matching } from './list-definition'

/** Entries of which the names are looked at. */
const LOOKED_AT = 1000

/** Who has no address that is shown may have one that is not; other kinds of entries seldom have any. */
const PERSON = equals('objectClass', 'person')

/** True of an entry that tells whether it has it. */
const isTold = (attribute: string) => or(present(attribute), not(present(attribute)))

/**
 * Attributes of addresses: by what they hide nobody is found.
 *
 * @param list with the names that the server knows
 * @param attributes those of the list that are looked at
 * @returns by attribute
 */
export async function untoldAttributes(
  search: BaseSearch,
  list: ListDefinition,
  attributes: readonly string[],
): Promise<Map<string, Doubt>> {
  const untold = new Map<string, Doubt>()
  if (attributes.length === 0) return untold
  const have = ofRecipients(list)
  const dns = await missingAmong(search, have, and(...attributes.map(isTold)))
  for (const dn of dns) {
    for (const attribute of attributes) {
      if (untold.has(attribute)) continue
      if (!(await isMissing(search, dn, have, isTold(attribute)))) continue
      const text = untoldText(search, list, attribute, dn)
      untold.set(attribute, { isOfSearches: false, text })
    }
  }
  return untold
}

/**
 * An attribute that is only read: what an entry shows it tells, whether it may be searched for or not.
 *
 * @param attribute one that the server knows
 * @returns for people; undefined when nothing is hidden
 */
export async function untoldWhenRead(
  search: BaseSearch,
  list: ListDefinition,
  attribute: string,
): Promise<string | undefined> {
  const have = ofRecipients(list)
  for (const dn of await missingAmong(search, have, isTold(attribute))) {
    if (!(await isMissing(search, dn, have, isTold(attribute)))) continue
    const { entries } = await search.findAt(dn, have, [attribute])
    const isShown = entries.some(({ attributes }) => attributes.length > 0)
    if (!isShown) return untoldText(search, list, attribute, dn)
  }
  return undefined
}

const ofRecipients = (list: ListDefinition) =>
  matching(list, or(...list.attributes.map(present), PERSON))

function untoldText(
  { base }: BaseSearch,
  list: ListDefinition,
  attribute: string,
  dn: string,
): string {
  const what = `${printable(dn)} does not tell this account whether it has it`
  const right = 'grant it the right to search for it and read it on all entries'
  return aboutBase(list, base, attribute, `${what}: ${right}`)
}

/**
 * Where the filter is false or true whatever an attribute says, nothing is hidden; what the server does not
 * know at all is unknown of every entry alike.
 *
 * @param attributes those of the filter that the server knows
 */
export async function untoldByFilter(
  search: BaseSearch,
  list: ListDefinition,
  attributes: readonly string[],
): Promise<Doubt | undefined> {
  const { filter } = list
  if (!filter || attributes.length === 0) return undefined
  const have = or(...list.attributes.map(present))
  const told = or(filter, not(filter), and(...attributes.map(isTold)))
  for (const dn of await missingAmong(search, have, told)) {
    if (!(await isMissing(search, dn, have, told))) continue
    const what = `${printable(dn)} does not tell this account whether it matches`
    const right = `grant it the right to search for ${attributes.join(', ')} on all entries`
    return {
      isOfSearches: false,
      text: aboutBase(list, search.base, 'filter', `${what}: ${right}`),
    }
  }
  return undefined
}

async function missingAmong(search: BaseSearch, have: Buffer, told: Buffer): Promise<string[]> {
  const [all, some] = await Promise.all([
    search.find(have, undefined, LOOKED_AT),
    search.find(and(have, told), undefined, LOOKED_AT),
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
  told: Buffer,
): Promise<boolean> {
  const [one, oneTold] = await Promise.all([
    search.findAt(dn, have),
    search.findAt(dn, and(have, told)),
  ])
  return oneTold.code === 0 && oneTold.entries.length === 0 && one.entries.length > 0
}

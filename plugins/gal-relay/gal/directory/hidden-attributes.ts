// Finds entries that do not show this account whether they have an attribute: access rules may hide it in
// part of the tree, or by a filter. For such an entry neither the presence of the attribute nor its negation
// is true (RFC 4511 §4.5.1.7), so a filter that accepts both does not match it.

import { SIZE_LIMIT_EXCEEDED } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { and, equals, not, or, present } from '../../ldap/filter'
import { type BaseSearch, type Doubt, SAMPLE } from './base-search'
import { type ContainerSamples, sampleContainers } from './containers'
import { type ListDefinition, matching } from './list-definition'

/** The most entries that are compared, and the most whose values are read. */
const LOOKED_AT = 1000
const READ = 200

/**
 * Without a visible address a person may have a hidden one, and a dynamic group one that is computed as it is
 * read; other kinds of entries seldom have any.
 */
const MAY_HAVE_ADDRESS = or(
  ...['person', 'groupOfURLs', 'labeledURIObject'].map((name) => equals('objectClass', name)),
)

/** True for every entry except those that hide the attribute. */
const isDecided = (attribute: string) => or(present(attribute), not(present(attribute)))

/** Entries that have an address or may have one. */
export interface Some {
  /** Without attributes. */
  readonly named: readonly Entry[]
  /** Fewer of them, with the attributes of the list. */
  readonly entries: readonly Entry[]
  /** Whether there are more than these. */
  readonly isCut: boolean
}

/** @throws DirectoryError if there is no answer */
export async function readSome(search: BaseSearch): Promise<Some> {
  const filter = ofRecipients(search.list)
  const [all, some] = await Promise.all([
    search.find(filter, undefined, LOOKED_AT),
    search.find(filter, search.list.attributes, READ),
  ])
  return { named: all.entries, entries: some.entries, isCut: some.code === SIZE_LIMIT_EXCEEDED }
}

/** The same from each container. @param attributes as below */
export function readSomeOfEach(
  search: BaseSearch,
  attributes: readonly string[],
): Promise<ContainerSamples> {
  return sampleContainers(search, ofRecipients(search.list), and(...attributes.map(isDecided)))
}

/**
 * Examines address attributes: a hidden value finds nobody.
 *
 * @param attributes those of the list that are looked at, by the names that the server knows
 * @param some entries that have an address or may have one
 * @param suspects DNs of others that may hide one
 * @returns by attribute
 */
export async function hiddenAttributes(
  search: BaseSearch,
  attributes: readonly string[],
  some: readonly Entry[],
  suspects: readonly string[],
): Promise<Map<string, Doubt>> {
  const hidden = new Map<string, Doubt>()
  if (attributes.length === 0) return hidden
  const have = ofRecipients(search.list)
  const dns = await missingAmong(search, some, and(have, ...attributes.map(isDecided)))
  for (const dn of [...dns, ...suspects.slice(0, SAMPLE)]) {
    for (const attribute of attributes) {
      if (hidden.has(attribute)) continue
      if (!(await isMissing(search, dn, have, isDecided(attribute)))) continue
      hidden.set(attribute, hides(search, attribute, dn))
    }
  }
  return hidden
}

/**
 * Examines an attribute that is read but never searched for. It is not hidden if entries show it, even if
 * this account may not search for it.
 *
 * @param attribute an attribute that the server knows
 * @returns a text for people to read; undefined if nothing is hidden
 */
export async function hiddenWhenRead(
  search: BaseSearch,
  attribute: string,
): Promise<string | undefined> {
  const have = ofRecipients(search.list)
  const all = await search.find(have, undefined, LOOKED_AT)
  for (const dn of await missingAmong(search, all.entries, and(have, isDecided(attribute)))) {
    if (!(await isMissing(search, dn, have, isDecided(attribute)))) continue
    const { entries } = await search.findAt(dn, have, [attribute])
    const isShown = entries.some(({ attributes }) => attributes.length > 0)
    if (!isShown) return hides(search, attribute, dn).text
  }
  return undefined
}

/** Entries that have an address, or may have a hidden one. */
const ofRecipients = (list: ListDefinition) =>
  matching(list, or(...list.attributes.map(present), MAY_HAVE_ADDRESS))

const hides = (search: BaseSearch, attribute: string, dn: string) =>
  search.hidden(attribute, dn, 'it has it', 'search for it and read it on all entries')

/**
 * An entry hides nothing if the filter is true or false whatever a hidden attribute says. Attributes that
 * the server does not know at all are unknown for every entry alike.
 *
 * @param attributes the filter's attributes that the server knows
 */
export async function hiddenFromFilter(
  search: BaseSearch,
  attributes: readonly string[],
): Promise<Doubt | undefined> {
  const { filter, attributes: addresses } = search.list
  if (!filter || attributes.length === 0) return undefined
  const have = or(...addresses.map(present))
  const decided = or(filter, not(filter), and(...attributes.map(isDecided)))
  const all = await search.find(have, undefined, LOOKED_AT)
  for (const dn of await missingAmong(search, all.entries, and(have, decided))) {
    if (!(await isMissing(search, dn, have, decided))) continue
    const right = `search for ${attributes.join(', ')} on all entries`
    return search.hidden('filter', dn, 'it matches', right)
  }
  return undefined
}

/** @returns DNs of entries that are among `all` and not among those that the filter finds */
async function missingAmong(
  search: BaseSearch,
  all: readonly Entry[],
  filter: Buffer,
): Promise<string[]> {
  const { entries } = await search.find(filter, undefined, LOOKED_AT)
  const names = new Set(entries.map(({ dn }) => dn.toLowerCase()))
  const missing = all.filter(({ dn }) => !names.has(dn.toLowerCase()))
  return missing.slice(0, SAMPLE).map(({ dn }) => dn)
}

/** Asks for one entry: it may have been added between the two searches, or a limit was reached. */
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

// Entries that show an address and are not found by it. An index that was not rebuilt after it was set
// up lacks all entries from before, and a value that the server computes (389 Directory Server's class
// of service) is in none. The entry itself, searched for by its DN, needs no index.

import { printable } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { equalsBytes, or } from '../../ldap/filter'
import type { BaseSearch, Doubt } from './base-search'
import { addressIn, baseName, LONGEST_VALUE } from './entry-addresses'
import { ofRecipients } from './hidden-attributes'
import { matching } from './list-definition'

/** Entries that are read; those that are oldest usually come first. */
const READ = 200
/** How many of them are searched for by the value of one attribute. */
const TRIED = 20
/** The most that are searched for again, one by one. */
const CONFIRMED = 3

/** An entry's value of one attribute. */
interface Held {
  readonly dn: string
  readonly value: Buffer
}

/**
 * @param attributes those of the list that can be searched for otherwise, by the names that the server knows
 * @returns by attribute
 */
export async function missingFromIndex(
  search: BaseSearch,
  attributes: readonly string[],
): Promise<Map<string, Doubt>> {
  const doubts = new Map<string, Doubt>()
  if (attributes.length === 0) return doubts
  const { entries } = await search.find(ofRecipients(search.list), attributes, READ)
  await Promise.all(
    attributes.map(async (name) => {
      const dn = await missing(search, name, spread(heldBy(entries, name)))
      if (dn === undefined) return
      const what =
        `${printable(dn)} has it and is not found by its value: rebuild the index, or give the ` +
        'entry a value of its own if the server computes this one'
      doubts.set(name, search.doubt(name, what))
    }),
  )
  return doubts
}

/** @returns the DN of an entry that is not found by its value */
async function missing(
  search: BaseSearch,
  name: string,
  held: readonly Held[],
): Promise<string | undefined> {
  if (held.length === 0) return undefined
  const byValue = ({ value }: Held) => equalsBytes(name, value)
  const all = matching(search.list, or(...held.map(byValue)))
  const { entries } = await search.find(all, undefined, 2 * TRIED)
  const found = new Set(entries.map(({ dn }) => dn.toLowerCase()))
  const others = held.filter(({ dn }) => !found.has(dn.toLowerCase()))
  for (const one of others.slice(0, CONFIRMED)) {
    const itsOwn = matching(search.list, byValue(one))
    // As look-ups ask: beside an attribute without an index the others need none.
    const anywhere = search.list.attributes.map((attribute) => equalsBytes(attribute, one.value))
    const [below, itself] = await Promise.all([
      search.find(matching(search.list, or(...anywhere))),
      search.findAt(one.dn, itsOwn),
    ])
    const isFound = below.code !== 0 || below.entries.length > 0
    if (!isFound && itself.entries.length > 0) return one.dn
  }
  return undefined
}

/** With an address; other kinds of values are not searched for. */
function heldBy(entries: readonly Entry[], name: string): Held[] {
  const lower = name.toLowerCase()
  return entries.flatMap(({ dn, attributes }) => {
    const value = attributes
      .filter(({ type }) => baseName(type) === lower)
      .flatMap(({ values }) => values)
      .find((one) => one.length <= LONGEST_VALUE && addressIn(lower, one.toString('utf8'), true))
    return value ? [{ dn, value }] : []
  })
}

/** Some of them, at equal distances. */
function spread(held: readonly Held[]): Held[] {
  const step = Math.max(1, held.length / TRIED)
  return held.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step))
}

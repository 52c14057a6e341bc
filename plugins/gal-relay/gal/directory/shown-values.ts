// Finds entries that show an address by which no search finds them. Some servers add or rewrite values as
// entries are read (OpenLDAP's overlays collect, dynlist, rwm, translucent and valsort; 389 Directory Server's
// class of service), and searches do not see those. An index that was never rebuilt lacks older entries.
// Some entries of each container are tried, since such rules often apply to part of the tree.

import { type Entry, sizeOf } from '../../ldap/entry'
import { and, equals, equalsBytes, or, present } from '../../ldap/filter'
import { SIZE_LIMIT } from './address-search'
import { type BaseSearch, type Doubt, SAMPLE } from './base-search'
import { addressIn, baseName, containerOf, valuesFor } from './entry-addresses'
import { matching, withAddress } from './list-definition'

/** The most entries that are tried, and the most bytes of their values. */
const TRIED = 100
const BYTES = 65_536
/** How many values of an attribute are tried, from its start and from its end, where added ones are. */
const OF_ENTRY = 5
/** The most entries of a container that are listed to find one. */
const LISTED = 1000
/** Longer values would make the search large. */
const LONGEST = 320

/** An address attribute: the name that the server knows, and in lower case those that entries show. */
export interface ShownAttribute {
  readonly name: string
  readonly shownAs: readonly string[]
}

interface ShownAddress {
  readonly attribute: string
  readonly value: Buffer
  readonly address: string
}

interface Shown {
  readonly dn: string
  readonly addresses: readonly ShownAddress[]
}

/**
 * @param entries that were read; if one occurs several times, the first counts
 * @returns by attribute
 * @throws DirectoryError if there is no answer
 */
export async function valuesNotFound(
  search: BaseSearch,
  attributes: readonly ShownAttribute[],
  entries: readonly Entry[],
): Promise<Map<string, Doubt>> {
  const doubts = new Map<string, Doubt>()
  const tried = someOfEach(entries, attributes)
  const alone = attributes.map(({ name }) => tried.flatMap((one) => only(name, one)))
  for (const missing of await Promise.all(
    [tried, ...alone].map((some) => notAmong(search, some)),
  )) {
    for (const { dn, addresses } of missing.slice(0, SAMPLE)) {
      for (const one of addresses) {
        if (doubts.has(one.attribute) || !(await isNotFound(search, dn, one))) continue
        doubts.set(one.attribute, await notFound(search, dn, one))
      }
    }
  }
  return doubts
}

/** An entry with its addresses in one attribute; nothing if it shows none. */
function only(name: string, { dn, addresses }: Shown): Shown[] {
  const own = addresses.filter(({ attribute }) => attribute === name)
  return own.length > 0 ? [{ dn, addresses: own }] : []
}

/**
 * OpenLDAP's overlay translucent is seen by a search for all attributes together. 389 Directory Server does not
 * ask an index for the few entries that the terms before it have left, so there each is searched for alone.
 *
 * @returns those that are not found by what they show
 */
async function notAmong(search: BaseSearch, tried: readonly Shown[]): Promise<Shown[]> {
  if (tried.length === 0) return []
  const has = ({ addresses }: Shown): Buffer => {
    const terms = addresses.map(({ attribute, value }) => equalsBytes(attribute, value))
    const [only] = terms
    return only && terms.length === 1 ? only : and(...terms)
  }
  const filter = matching(search.list, or(...tried.map(has)))
  const found = await search.find(filter, undefined, 2 * TRIED)
  const names = new Set(found.entries.map(({ dn }) => dn.toLowerCase()))
  return tried.filter(({ dn }) => !names.has(dn.toLowerCase()))
}

/** By the search that looks an address up; the entry may have changed in between. */
async function isNotFound(
  search: BaseSearch,
  dn: string,
  { attribute, value, address }: ShownAddress,
): Promise<boolean> {
  const { list } = search
  const terms = list.attributes.flatMap((name) =>
    valuesFor(name, address).map((text) => equals(name, text)),
  )
  const { code, entries } = await search.find(matching(list, or(...terms)), undefined, SIZE_LIMIT)
  if (code !== 0 || entries.some((entry) => entry.dn.toLowerCase() === dn.toLowerCase()))
    return false
  const now = await search.findAt(dn, present('objectClass'), [attribute])
  return now.entries.some(({ attributes }) =>
    attributes.some(({ values }) => values.some((one) => one.equals(value))),
  )
}

async function notFound(
  search: BaseSearch,
  dn: string,
  { attribute }: ShownAddress,
): Promise<Doubt> {
  // The whole list is read by an index as well, which may lack the entry too.
  const listed = await search.findIn(containerOf(dn), withAddress(search.list), ['1.1'], LISTED)
  const isListed = listed.entries.some((entry) => entry.dn.toLowerCase() === dn.toLowerCase())
  const what =
    'shows an address in it that no search finds: is it added as entries are read (overlay dynlist, ' +
    'collect, translucent or valsort; class of service), or missing from an index? Store it in the entry, ' +
    'or rebuild the index'
  const todo = isListed ? `${what}, or set mode = snapshot` : what
  return search.doubtOf(attribute, dn, todo, isListed)
}

function shownBy({ dn, attributes: shown }: Entry, attributes: readonly ShownAttribute[]): Shown {
  const addresses = attributes.flatMap(({ name, shownAs }) => {
    const values = shown.filter(({ type }) => shownAs.includes(baseName(type)))
    const all = values.flatMap((one) => one.values.flatMap((value) => askable(name, value)))
    return all.length > 2 * OF_ENTRY ? [...all.slice(0, OF_ENTRY), ...all.slice(-OF_ENTRY)] : all
  })
  return { dn, addresses }
}

/** An address that a sender may ask for, in characters that every syntax allows. */
function askable(attribute: string, value: Buffer): ShownAddress[] {
  const text = value.toString('latin1')
  if (value.length > LONGEST || !/^[\x20-\x7e]+$/.test(text)) return []
  const address = addressIn(attribute.toLowerCase(), text, true)
  return address === undefined ? [] : [{ attribute, value, address }]
}

/** Takes as many entries of each container, those with most values first; always the same ones. */
function someOfEach(entries: readonly Entry[], attributes: readonly ShownAttribute[]): Shown[] {
  const containers = new Map<string, Entry[]>()
  const names = new Set<string>()
  for (const one of entries) {
    const dn = one.dn.toLowerCase()
    if (one.attributes.length === 0 || names.has(dn)) continue
    names.add(dn)
    const name = containerOf(one.dn)
    const others = containers.get(name)
    if (others) others.push(one)
    else containers.set(name, [one])
  }
  const longest = Math.max(0, ...Array.from(containers.values(), ({ length }) => length))
  for (const some of containers.values()) some.sort((one, other) => sizeOf(other) - sizeOf(one))
  const tried: Shown[] = []
  let bytes = 0
  for (let place = 0; place < longest; place++) {
    for (const some of containers.values()) {
      const entry = some[place]
      const one = entry && shownBy(entry, attributes)
      if (!one || one.addresses.length === 0) continue
      bytes += one.addresses.reduce((sum, { value }) => sum + value.length, 0)
      if (tried.length === TRIED || bytes > BYTES) return tried
      tried.push(one)
    }
  }
  return tried
}

// A feed that delivers the list itself may leave entries out without saying so: if part of the tree is in
// another database, or a limit is reached. It may also deliver entries that a look-up would not find. So its
// entries are compared with a plain search of the same bases and filter.

import { printable } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { type FeedContext, interruptible } from '../feeds/change-feed'
import { addressesOf } from './entry-addresses'
import type { ListDefinition } from './list-definition'

/** The most entries that are remembered from the first comparison to the second. */
const REMEMBERED = 10_000
/** The most of them that are named. */
const NAMED = 3
/** Milliseconds in which the feed delivers what changed a moment ago. */
const SETTLE = 1000

/**
 * Compares twice: an entry that is missing only once has just been created.
 * @param changed takes the ids of entries that the feed names meanwhile
 * @param idIn what the feed calls the entry with this id below this base
 * @returns what differs from a plain search, in words: entries that the feed left out, brought with other
 *   addresses, or brought although the search does not find them; undefined if nothing
 * @throws DirectoryError
 */
export async function whatIsLeftOut(
  context: FeedContext,
  changed: Set<string>,
  idIn: (base: number, id: Buffer) => Buffer,
): Promise<string | undefined> {
  const first = await differences(context, changed, idIn)
  if (first.leftOut.size + first.otherwise.size + first.notFound === 0) return undefined
  await interruptible(SETTLE, context.signal)
  const second = await differences(context, changed, idIn)
  if (first.notFound > 0 && second.notFound > 0) {
    return `it returns entries that a search does not find: ${second.notFound}`
  }
  const leftOut = [...second.leftOut].filter((dn) => first.leftOut.has(dn))
  if (leftOut.length > 0) return `it leaves out entries that a search finds: ${some(leftOut)}`
  const otherwise = [...second.otherwise].filter((dn) => first.otherwise.has(dn))
  if (otherwise.length > 0)
    return `it shows other addresses than a search does of ${some(otherwise)}`
  return undefined
}

function some(dns: readonly string[]): string {
  const named = dns.slice(0, NAMED).map(printable).join('; ')
  return dns.length > NAMED ? `${named} and others` : named
}

/** DNs of entries with addresses, up to a limit. */
interface Differences {
  /** Those that the feed has not brought. */
  readonly leftOut: ReadonlySet<string>
  /** Those that it has brought with other addresses. */
  readonly otherwise: ReadonlySet<string>
  /** How many it has brought that a search does not find. */
  readonly notFound: number
}

async function differences(
  { keeper, list }: FeedContext,
  changed: Set<string>,
  idIn: (base: number, id: Buffer) => Buffer,
): Promise<Differences> {
  changed.clear()
  const comparison = keeper.compare()
  const different = new Map<string, { readonly dn: string; readonly isKnown: boolean }>()
  await list.readAll((name, entry, base) => {
    const id = idIn(base, name)
    const isKnown = comparison.seen(id)
    if (isKnown ? keeper.holds(id, entry) : !hasAddress(entry, list.definition)) return
    if (different.size < REMEMBERED) different.set(id.toString('latin1'), { dn: entry.dn, isKnown })
  })
  for (const id of changed) {
    comparison.seen(Buffer.from(id, 'latin1'))
    different.delete(id)
  }
  const names = (isKnown: boolean) =>
    new Set([...different.values()].filter((one) => one.isKnown === isKnown).map(({ dn }) => dn))
  return { leftOut: names(false), otherwise: names(true), notFound: comparison.unseen() }
}

/** An entry with addresses of other kinds alone is not in the list either way. */
const hasAddress = (entry: Entry, { names }: ListDefinition) => addressesOf(entry, names).length > 0

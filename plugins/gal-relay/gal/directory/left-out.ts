// A feed that delivers the list itself may leave entries out: a server that keeps part of the tree in
// another database, or reaches a limit, does not say so. It may also deliver entries that a look-up would
// not find. Its entries are therefore compared with a plain search of the same bases and filter.

import { printable } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { type FeedContext, interruptible } from '../feeds/change-feed'
import { addressesOf } from './entry-addresses'
import type { ListDefinition } from './list-definition'

/** The most entries that are remembered from one look to the next. */
const REMEMBERED = 10_000
/** The most of them that are named. */
const NAMED = 3
/** Milliseconds in which the feed delivers what changed a moment ago. */
const SETTLE = 1000

/**
 * Looks twice: an entry that was missing only in between has just been made.
 * @param changed takes the ids of entries that the feed names meanwhile
 * @param idIn what the feed calls the entry with this id below this base
 * @returns what a plain search finds and is missing, or of which it shows other addresses, or that it does
 *   not find all that the feed has brought; as a sentence
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

/** DNs of entries with addresses; of many, some. */
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

/** One that has only addresses of other kinds is in the list of neither. */
const hasAddress = (entry: Entry, { names }: ListDefinition) => addressesOf(entry, names).length > 0

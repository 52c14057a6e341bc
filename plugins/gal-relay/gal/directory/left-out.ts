// A feed that brings the list by itself may leave something out: a server that has a part of the tree
// in another database, or meets a limit, does not say so. Or it brings what a look-up would not find.
// What it brought is held against a plain search of the same bases and filter.

import { printable } from '../../ldap/directory-error'
import { type FeedContext, interruptible, NotOffered } from '../feeds/change-feed'
import { addressesOf } from './entry-addresses'

/** The most entries that are looked at one by one; those that it leaves out are more, or few. */
const LOOKED_AT = 10_000
/** The most of them that are named. */
const NAMED = 3
/** The feed has brought by then what happened a moment ago. */
const SETTLE = 1000

/**
 * Looks twice: an entry that was missing only in between has just been made.
 * @param changed takes the ids of entries that the feed names meanwhile
 * @param idIn what the feed calls the entry with this id below this base
 * @throws NotOffered when entries are missing that a plain search finds, or it does not find all of them
 * @throws DirectoryError
 */
export async function requireNothingLeftOut(
  context: FeedContext,
  changed: Set<string>,
  idIn: (base: number, id: Buffer) => Buffer,
): Promise<void> {
  const first = await differences(context, changed, idIn)
  if (first.leftOut.size + first.notFound === 0) return
  await interruptible(SETTLE, context.signal)
  const second = await differences(context, changed, idIn)
  if (first.notFound > 0 && second.notFound > 0) {
    throw new NotOffered(`it returns entries that a search does not find: ${second.notFound}`)
  }
  const names = [...second.leftOut].filter((dn) => first.leftOut.has(dn))
  if (names.length === 0) return
  const some = names.slice(0, NAMED).map(printable).join('; ')
  const more = names.length > NAMED ? ' and others' : ''
  throw new NotOffered(`it leaves out entries that a search finds: ${some}${more}`)
}

interface Differences {
  /** DNs of entries with addresses that the feed has not brought; of many, some. */
  readonly leftOut: ReadonlySet<string>
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
  const unknown: { readonly dn: string; readonly id: string }[] = []
  await list.readIds((name, base, dn) => {
    const id = idIn(base, name)
    if (comparison.seen(id) || unknown.length === LOOKED_AT) return
    unknown.push({ dn, id: id.toString('latin1') })
  })
  for (const id of changed) comparison.seen(Buffer.from(id, 'latin1'))
  const notFound = comparison.unseen()
  const missing = new Set<string>()
  for (const { dn, id } of unknown) {
    if (missing.size > MANY) break
    if (changed.has(id)) continue
    // One that has only addresses of other kinds is in the list of neither.
    const entry = await list.readOne(dn)
    if (entry && addressesOf(entry, list.definition.names).length > 0 && !changed.has(id))
      missing.add(dn)
  }
  return { leftOut: missing, notFound }
}

/** Enough of them, so that those of both times are some. */
const MANY = 20

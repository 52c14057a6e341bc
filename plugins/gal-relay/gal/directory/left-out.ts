// A feed that delivers the list itself may leave entries out: a server that keeps part of the tree in
// another database, or reaches a limit, does not say so. It may also deliver entries that a look-up would
// not find. Its entries are therefore compared with a plain search of the same bases and filter.

import { printable } from '../../ldap/directory-error'
import { type FeedContext, interruptible, NotOffered } from '../feeds/change-feed'
import { addressesOf } from './entry-addresses'

/** The most entries that are examined one by one: a feed leaves out either a few, or more than this. */
const LOOKED_AT = 10_000
/** The most entries that a message names. */
const NAMED = 3
/** Milliseconds in which the feed delivers what changed a moment ago. */
const SETTLE = 1000

/**
 * Compares twice: an entry that is missing only once has just been created.
 * @param changed receives the ids of entries that the feed names meanwhile
 * @param idIn returns the feed's id of the entry that has this id below this base
 * @throws NotOffered if the feed misses entries that a plain search finds, or has entries that it does not
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
  /** DNs of entries with addresses that the feed has not delivered; only some of them if there are many. */
  readonly leftOut: ReadonlySet<string>
  /** How many entries the feed has delivered that a search does not find. */
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
    // An entry that has only addresses of other types is in neither list.
    const entry = await list.readOne(dn)
    if (entry && addressesOf(entry, list.definition.names).length > 0 && !changed.has(id))
      missing.add(dn)
  }
  return { leftOut: missing, notFound }
}

/** How many DNs a comparison collects: enough for the two to have some in common. */
const MANY = 20

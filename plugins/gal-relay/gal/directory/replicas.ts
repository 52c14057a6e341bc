// The servers of a directory have the same entries. A replica may lack an attribute nevertheless (OpenLDAP:
// `exattrs` or `attrs` of syncrepl), or know no such attribute: on it, nobody is found by that. Or it is
// being filled.

import type { Searchable } from './searchable'

/** What one server shows. */
export interface Replica {
  readonly name: string
  /** undefined while it is not known. */
  readonly searchable:
    | Pick<Searchable, 'findings' | 'isActiveDirectory' | 'isStateless'>
    | undefined
}

/** @returns a sentence on what another of these servers has and this one lacks; undefined if nothing */
export function lackedHere(
  { name, searchable }: Replica,
  all: Iterable<Replica>,
): string | undefined {
  const here = new Map(searchable?.findings.map((finding) => [finding.attribute, finding]))
  for (const other of all) {
    // Another product is no replica: it may hold the same addresses in another attribute.
    const isReplica = searchable?.isActiveDirectory === other.searchable?.isActiveDirectory
    if (other.name === name || !isReplica) continue
    if (searchable?.isStateless && other.searchable?.isStateless === false)
      return `${name} has no contextCSN as ${other.name} has: is it a replica that is being filled?`
    for (const { attribute, isHeld } of other.searchable?.findings ?? []) {
      if (!isHeld || here.get(attribute)?.isHeld) continue
      return `${attribute}: entries have it on ${other.name}, and none has it on ${name}: is that a partial replica?`
    }
  }
  return undefined
}

/**
 * @param known what was seen last of the servers, by name
 * @returns what a server shows, with a doubt if others have what it lacks
 */
export function doubtedBeside(
  known: ReadonlyMap<string, Searchable>,
  name: string,
  searchable: Searchable,
): Searchable {
  const servers = Array.from(known, ([name, searchable]) => ({ name, searchable }))
  const text = lackedHere({ name, searchable }, servers)
  if (text === undefined) return searchable
  return { ...searchable, doubts: [...searchable.doubts, { isOfSearches: false, text }] }
}

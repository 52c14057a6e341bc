// The servers of a directory should have the same entries. But a replica may lack an attribute (OpenLDAP:
// `exattrs` or `attrs` of syncrepl) or have no such attribute in its schema, so that it finds nobody by it;
// or it is still being filled.

import type { Searchable } from './searchable'

/** What one server shows. */
export interface Replica {
  readonly name: string
  /** undefined while it is not known. */
  readonly searchable:
    | Pick<Searchable, 'findings' | 'isActiveDirectory' | 'isStateless'>
    | undefined
}

/** @returns what another of these servers has and this one lacks, in words; undefined if nothing */
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

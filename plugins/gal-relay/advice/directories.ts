// Which recipients are looked up in which directory, in words. If there is only one directory, all are
// looked up there, and nothing is said.
import { domainText } from '../routing/routes'
import type { Directories, DirectorySettings } from '../settings/directories'

/** The most lines of one kind: an install may have hundreds of directories. */
const SHOWN = 10

/** @returns `directory beta`, `directories beta, gamma and delta` */
export function directoryNames(names: readonly string[]): string {
  const last = names.at(-1)
  if (names.length < 2) return `directory ${last}`
  return `directories ${names.slice(0, -1).join(', ')} and ${last}`
}

/** A line for the domains of each directory, or of several that have the same ones. */
export function lookedUpWhere({ all, byDomain, otherwise }: Directories): readonly string[] {
  if (all.length === otherwise.length) return []
  const groups = new Map<string, { names: readonly string[]; domains: Set<string> }>()
  for (const { domains } of all) {
    for (const domain of domains) {
      const names = (byDomain.get(domain) ?? []).map(({ name }) => name)
      const group = groups.get(names.join()) ?? { names, domains: new Set() }
      groups.set(names.join(), group)
      group.domains.add(domainText(domain))
    }
  }
  const lines = Array.from(groups.values(), ({ names, domains }) => {
    const several = names.length > 1 ? '; one of them must have them' : ''
    const at = abbreviated([...domains])
    return `recipients at ${at} are looked up in ${directoryNames(names)}${several}`
  })
  const [first] = otherwise
  const rest = first
    ? `recipients at all other domains are looked up in ${directoryNames([first.name])}`
    : 'there is no default directory: recipients at other domains are not looked up'
  return [...firstOf(lines), rest]
}

/** @returns a sentence that says whose recipients are looked up there */
export function domainsText({ all }: Directories, name: string): string {
  const { domains = [] } = all.find((one) => one.name === name) ?? {}
  const own = abbreviated(domains.map(domainText))
  return own ? `Recipients at ${own}.` : 'Recipients at all domains that no other directory has.'
}

/**
 * Collects the doubts about all directories; if there are several, each line names its directory.
 * @param doubts returns the doubts about one directory
 */
export function ofEach(
  { all }: Directories,
  doubts: (directory: DirectorySettings) => readonly string[],
): readonly string[] {
  const nameOf = (name: string) => (all.length > 1 ? `directory ${name}: ` : '')
  return firstOf(all.flatMap((one) => doubts(one).map((text) => nameOf(one.name) + text)))
}

/** Returns the first lines of one kind, and says how many more there are. */
export function firstOf(lines: readonly string[]): readonly string[] {
  const more = lines.length - SHOWN
  return more > 0 ? [...lines.slice(0, SHOWN), `and ${more} more lines like these`] : lines
}

function abbreviated(items: readonly string[]): string {
  const more = items.length - SHOWN
  const first = items.slice(0, SHOWN).join(', ')
  return more > 0 ? `${first} and ${more} more` : first
}

// The directory of the demo for tests, with the same kind of entries as the real slapd of slapd.ts. It needs
// nothing but Node.
import { type Directory, type DirectoryOptions, startDirectory } from '../../demo/directory'
import type { DirectoryEntry } from '../../demo/ldif'
import type { SlapdEntry } from './slapd'

export interface EmbeddedLdap extends Omit<Directory, 'setEntries'> {
  setEntries(entries: Iterable<SlapdEntry>): void
}

/** Starts it and waits until it listens. The default base is `dc=corp,dc=test`. */
export async function startEmbeddedLdap(
  entries: Iterable<SlapdEntry> = [],
  options: DirectoryOptions = {},
): Promise<EmbeddedLdap> {
  const base = options.base ?? 'dc=corp,dc=test'
  const directory = await startDirectory(directoryEntries(entries, base), { ...options, base })
  return {
    url: directory.url,
    port: directory.port,
    base,
    get searches() {
      return directory.searches
    },
    setEntries: (next) => directory.setEntries(directoryEntries(next, base)),
    stop: () => directory.stop(),
  }
}

function directoryEntries(entries: Iterable<SlapdEntry>, base: string): DirectoryEntry[] {
  const top = { dn: base, attributes: { objectClass: ['domain'] } }
  return [top, ...Array.from(entries, (entry, index) => directoryEntry(entry, index, base))]
}

function directoryEntry(entry: SlapdEntry, index: number, base: string): DirectoryEntry {
  const given = typeof entry === 'string' ? { mail: entry, proxyAddresses: `SMTP:${entry}` } : entry
  const { dn = `uid=r${index + 1},${base}`, ...attributes } = given
  const lists = Object.entries({ objectClass: 'galRecipient', ...attributes }).flatMap(
    ([type, values]) => (values === undefined ? [] : [[type, [values].flat()] as const]),
  )
  return { dn, attributes: Object.fromEntries(lists) }
}

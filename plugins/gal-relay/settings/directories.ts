// The directories in which recipients are looked up. `[ldap]` and `[gal]` describe the default one;
// each `[directory NAME]` adds another for the domains that it names.
import path from 'node:path'
import { DomainMap } from '../routing/domain-map'
import { isOurs } from '../routing/kinds'
import { exactText, findRow, type RouteTable, type SentTo } from '../routing/routes'
import type { Trusted } from '../trusted-file'
import {
  reportCredentials,
  reportMissingDirectory,
  reportWhatIsReceived,
} from './directory-section'
import type { Ini } from './ini'
import { channelOf, REDIS, type SnapshotSettings } from './list-channel'
import type { Problem } from './problem'
import type { RedisSettings } from './redis'
import * as schema from './schema'
import { FILE, type SectionReader } from './sections'
import type { Steps } from './steps'

/** The name of the directory in `[ldap]`. */
export const DEFAULT = 'default'

export interface DirectorySettings {
  /** The name used in the log, in metrics and in commands. */
  readonly name: string
  /** The domains looked up here. Empty for the default directory, which has all the others. */
  readonly domains: readonly SentTo[]
  readonly gal: schema.GalSettings
  readonly ldap: schema.LdapSettings
  readonly snapshot: SnapshotSettings
}

/** All directories, and which of them are asked about a domain. */
export interface Directories {
  /** The default one first, if there is one. */
  readonly all: readonly DirectorySettings[]
  readonly byDomain: DomainMap<readonly DirectorySettings[]>
  /** Asked about all other domains: the default directory, or none. */
  readonly otherwise: readonly DirectorySettings[]
  /** Keys that have no effect because there is no default directory, such as `[gal] filter`. */
  readonly without: readonly string[]
}

/**
 * Returns the directories to ask about a recipient at the domain. One that has the recipient is enough.
 *
 * @param domain lower-case A-label or canonical address literal
 */
export function directoriesFor(
  { byDomain, otherwise }: Directories,
  domain: string,
): readonly DirectorySettings[] {
  return byDomain.find(domain) ?? otherwise
}

/** Whether any directory that is asked about the domain says where its recipients' mail goes. */
export const saysWhere = (directories: Directories, domain: string): boolean =>
  directoriesFor(directories, domain).some(isAskedWhere)

/** Whether the directory, or the list that comes from it, may say where its recipients' mail goes. */
export const isAskedWhere = ({ gal }: Pick<DirectorySettings, 'gal'>): boolean =>
  gal.mode === 'received' || gal.host_attribute !== '' || gal.routing_attribute !== ''

/** Whether recipients at the domain and, for a suffix, at its subdomains can be looked up. */
function isCovered({ byDomain, otherwise }: Directories, sentTo: SentTo): boolean {
  const { match, domain } = sentTo
  if (otherwise.length > 0) return true
  return Boolean(match === 'suffix' ? byDomain.findSuffix(domain) : byDomain.find(domain))
}

/** What a directory inherits from [gal], [ldap] and [snapshot]: no names, no credentials, no servers. */
export const INHERITED = {
  gal: ['mode', 'cache_found', 'cache_absent', 'cache_stale', 'cache_size'],
  ldap: ['connections', 'connect_timeout', 'query_timeout', 'answer_within', 'retry_after'],
  snapshot: [
    ...(['full_every', 'changes_every', 'usable_for', 'shrink_limit'] as const),
    ...(['share', 'key_file', 'received_from'] as const),
  ],
} as const

/** Created once: creating a schema takes longer than reading a section with it. */
const SHAPES = {
  gal: schema.gal,
  ldap: schema.ldap(''),
  snapshot: schema.snapshot(''),
}

/** The keys of the default directory. */
export type DefaultKeys = Pick<DirectorySettings, 'gal' | 'snapshot'> & {
  readonly ldap: schema.LdapKeys
  readonly trusted?: Trusted
  /** The Redis through which servers share lists. */
  readonly redis?: RedisSettings | undefined
}

/**
 * @param of the general sections; their times, sizes and limits apply to all directories
 * @returns `undefined` if a section cannot be read, because not all directories are known then
 */
export function* readDirectories(
  ini: Ini,
  sections: SectionReader,
  of: DefaultKeys,
  configDir: string,
  problems: Problem[],
): Steps<Directories | undefined> {
  const { url = [], base = [] } = of.ldap
  const first: DirectorySettings | undefined =
    url.length > 0 || of.gal.mode === 'received'
      ? {
          name: DEFAULT,
          domains: [],
          gal: withX500(of.gal),
          ldap: { ...of.ldap, url, base, ...believing(of) },
          snapshot: {
            ...of.snapshot,
            ...believing(of),
            ...channelIn(sections, 'snapshot', DEFAULT, of.gal.mode, of.snapshot, of),
          },
        }
      : undefined
  const all: DirectorySettings[] = first ? [first] : []
  const byDomain = new DomainMap<DirectorySettings[]>()
  const names = new Map<string, string>()
  const directory = schema.directory(configDir)
  let isWhole = true
  for (const section of sections.names()) {
    yield
    if (!/^directory\b/i.test(section)) continue
    const keys = yield* sections.read(section, directory)
    const name = nameOf(section)
    if (typeof name === 'object') {
      sections.report({ section, what: name.problem })
      isWhole = false
      continue
    }
    const twin = names.get(name.toLowerCase())
    if (twin) sections.report({ section, what: `is the same directory as [${twin}]` })
    names.set(name.toLowerCase(), section)
    const given = ini.sections.get(section) ?? new Map<string, string | readonly string[]>()
    const mode = given.has('mode') ? keys?.mode : of.gal.mode
    if (mode === 'received') {
      const where = given.has('mode') ? `[${section}]` : '[gal]'
      reportWhatIsReceived(ini, section, sections, where)
    } else {
      reportMissingDirectory(ini, section, problems)
      reportCredentials(ini, section, sections, keys?.bind_method)
    }
    if (!given.get('domains')?.length) {
      const what = 'is missing: domains[] = example.com'
      problems.push({ file: FILE, section, key: 'domains[]', what })
    }
    if (!keys) {
      isWhole = false
      continue
    }
    const one = directoryOf(sections, section, name, keys, given, of)
    all.push(one)
    for (const domain of keys.domains) {
      yield
      const others = byDomain.get(domain)
      if (!others) byDomain.set(domain, [one])
      else if (!others.includes(one)) others.push(one)
    }
  }
  reportSharedFiles(sections, all)
  if (of.gal.any_domain && !first && all.length > 0) {
    const what =
      'has no directory to ask: any domain that no other has is looked up in the one of [ldap]'
    sections.report({ section: 'gal', key: 'any_domain', value: 'true', what })
  }
  const without = first || all.length === 0 ? [] : forDefaultAlone(ini)
  return isWhole ? { all, byDomain, otherwise: first ? [first] : [], without } : undefined
}

/** Keys that no directory uses because [ldap] names none. Their author may expect them to count. */
function forDefaultAlone(ini: Ini): readonly string[] {
  return (['gal', 'ldap', 'snapshot'] as const).flatMap((section) => {
    const keys = [...(ini.sections.get(section)?.keys() ?? [])]
    const forAll: readonly string[] = [...INHERITED[section], ...FOR_ALL]
    const own = keys.filter((key) => !forAll.includes(key))
    return own.length > 0 ? [`[${section}] ${own.join(', ')}`] : []
  })
}

/** Keys that apply to the whole install, and `file`, from which the names of all list files are made. */
const FOR_ALL = ['any_domain', 'always_accept', 'file']

/** X.500 addresses are found by the attribute that holds them. */
function withX500(gal: schema.GalSettings): schema.GalSettings {
  const isThere = gal.attributes.some((name) => name.toLowerCase() === 'legacyexchangedn')
  if (!gal.x500 || isThere) return gal
  return { ...gal, attributes: [...gal.attributes, 'legacyExchangeDN'] }
}

function directoryOf(
  sections: SectionReader,
  section: string,
  name: string,
  keys: schema.DirectoryKeys,
  given: ReadonlyMap<string, unknown>,
  of: DefaultKeys,
): DirectorySettings {
  const inherited = <T extends object>(all: T, names: readonly (keyof T & string)[]) =>
    Object.fromEntries(names.filter((key) => !given.has(key)).map((key) => [key, all[key]]))
  const { url = [], base = [] } = keys
  const gal = withX500({
    ...pick(keys, SHAPES.gal),
    ...inherited(of.gal, INHERITED.gal),
    any_domain: false,
    always_accept: of.gal.always_accept,
  })
  const snapshot = {
    ...pick(keys, SHAPES.snapshot),
    ...inherited(of.snapshot, INHERITED.snapshot),
    file: given.has('file') ? keys.file : fileFor(name, of.snapshot.file),
    ...believing(of),
  }
  if (!given.has('received_from') && !['', REDIS].includes(snapshot.received_from)) {
    snapshot.received_from = fileFor(name, snapshot.received_from)
  }
  return {
    name,
    domains: keys.domains,
    gal,
    ldap: {
      ...pick(keys, SHAPES.ldap),
      ...inherited(of.ldap, INHERITED.ldap),
      url,
      base,
      ...believing(of),
    },
    snapshot: { ...snapshot, ...channelIn(sections, section, name, gal.mode, snapshot, of) },
  }
}

/** Reports what is wrong with the channel. @param section the section that has its keys */
function channelIn(
  sections: SectionReader,
  section: string,
  name: string,
  mode: schema.GalSettings['mode'],
  keys: SnapshotSettings,
  { redis, trusted }: DefaultKeys,
): Partial<Pick<SnapshotSettings, 'channel' | 'file'>> {
  const found = channelOf(name, mode, keys, redis, trusted)
  if (!found || 'channel' in found) return found ?? {}
  sections.report({ section, ...found })
  return {}
}

const believing = ({ trusted }: DefaultKeys) => (trusted ? { trusted } : {})

/** gal_relay.snapshot → gal_relay.NAME.snapshot */
export function fileFor(name: string, file: string): string {
  const { dir, name: stem, ext } = path.parse(file)
  return path.join(dir, `${stem}.${name}${ext}`)
}

function pick<T extends object, S extends object>(all: T, shape: S): Pick<T, keyof T & keyof S> {
  const own = Object.entries(all).filter(([key]) => Object.hasOwn(shape, key))
  return Object.fromEntries(own) as Pick<T, keyof T & keyof S>
}

/**
 * Reports recipients that must be looked up but have no directory: they are neither found nor absent.
 * @param hosts the inbound domains of config/host_list
 */
export function* reportUncovered(
  sections: SectionReader,
  directories: Directories,
  routes: RouteTable,
  hosts: ReadonlySet<string>,
  problems: Problem[],
): Steps<void> {
  for (const { sentTo, routeTo, text } of routes.rows) {
    yield
    if (!('hops' in routeTo) || !isOurs(routeTo.kind)) continue
    if (isCovered(directories, sentTo)) continue
    const domain = sentTo.match === 'address' ? exactText(sentTo.domain) : text
    const what = `has no directory: put ${domain} into domains[] of a [directory NAME], or configure a default one in [ldap]`
    sections.report({ section: 'routes', key: text, value: routeTo.kind, what })
  }
  for (const domain of hosts) {
    yield
    // Where a row says otherwise, it has been looked at.
    if (findRow(routes, domain) || isCovered(directories, { match: 'exact', domain })) continue
    problems.push({
      file: 'config/host_list',
      what:
        `${domain} has no directory: put it into domains[] of a [directory NAME], configure a default one in [ldap], ` +
        'or set [routing] host_list = false',
    })
  }
}

/** Each list needs its own file; otherwise one directory would read what another has written. */
function reportSharedFiles(sections: SectionReader, all: readonly DirectorySettings[]): void {
  const users = new Map<string, DirectorySettings>()
  for (const directory of all) {
    const { name, gal, snapshot } = directory
    if (gal.mode === 'live') continue
    const other = users.get(snapshot.file)
    if (other) {
      const section = name === DEFAULT ? 'snapshot' : `directory ${name}`
      const what = `is the file of directory ${other.name} too; each list needs its own`
      sections.report({ section, key: 'file', value: snapshot.file, what })
    }
    users.set(snapshot.file, directory)
  }
}

function nameOf(section: string): string | { readonly problem: string } {
  const [, word, name = ''] = /^(directory)\s+(\S+)$/i.exec(section) ?? []
  if (word && word !== 'directory') return { problem: `probably meant: [directory ${name}]` }
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/i.test(name)) {
    const meant = section.replace(/^directory\s*/i, '').replace(/[^a-z0-9._-]+/gi, '-')
    const hint = /^[a-z0-9]/i.test(meant) ? `; probably meant: [directory ${meant}]` : ''
    const what = 'is not [directory NAME], with a name of letters, digits, ., - and _'
    return { problem: `${what}${hint}` }
  }
  if (name.toLowerCase() === DEFAULT) {
    return { problem: 'is the name of the directory in [ldap]; give this one another' }
  }
  return name
}

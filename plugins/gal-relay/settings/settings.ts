// gal_relay.ini → one immutable, validated policy per listener. Every problem is found and reported,
// not just the first; with a problem there are no settings.
import type { ZodError, ZodType, z } from 'zod'
import type { RoutingPolicy } from '../routing/decide'
import { didYouMean } from '../routing/did-you-mean'
import { localParts } from '../routing/local-parts'
import { type NetworkList, networkList, parseIp } from '../routing/networks'
import { canonicalLiteral } from '../routing/recipient'
import type { Restrictions } from '../routing/restrictions'
import {
  findRow,
  parseDomain,
  parseRouteTo,
  parseSentTo,
  type RouteTable,
  type Row,
  routeTable,
  sentToText,
} from '../routing/routes'
import type { Enforcement } from './enforcement'
import type { Ini } from './ini'
import { type OwnHost, ownListener } from './own-host'
import { type Problem, SettingsError, shownValue } from './problem'
import * as schema from './schema'
import { COMMENT, ONE_EACH } from './values'

export type { GalSettings, LdapSettings, ServerUrl, SnapshotSettings } from './schema'

/** What holds on one listener. */
export interface ListenerPolicy {
  /** The sections that made it, for the log: `*:587`, or `*:*` for the general settings. */
  readonly name: string
  readonly enabled: boolean
  /** What it does not decide it logs and counts, and leaves the answer to Haraka. */
  readonly enforce: Enforcement
  /** The other plugins of this Haraka that accept recipients. */
  readonly acceptedBy: readonly string[]
  /** Both kinds of recipient in one transaction: both ways, or the second kind later. */
  readonly mixed: 'split' | 'defer'
  readonly routing: RoutingPolicy
  readonly restrictions: Restrictions
}

export interface Settings {
  /** By `address:port`, `address:*`, `*:port` and `*:*`; ask {@link policyFor}. */
  readonly policies: ReadonlyMap<string, ListenerPolicy>
  readonly gal: schema.GalSettings
  readonly snapshot: schema.SnapshotSettings
  /** undefined when the plugin is enabled on no listener and no directory is named. */
  readonly ldap: schema.LdapSettings | undefined
  /** Metrics and the status page, and the clients they are for. */
  readonly http: { readonly enabled: boolean; readonly allow: NetworkList }
}

const FILE = 'config/gal_relay.ini'
const ANY = '*:*'

/**
 * @param hostList the lines of config/host_list
 * @param configDir where relative file names start
 * @param own whom no row may name as its next hop
 * @param acceptedBy the other plugins that accept recipients
 * @throws SettingsError with every problem
 */
export function readSettings(
  ini: Ini,
  hostList: readonly string[],
  configDir: string,
  own?: OwnHost,
  acceptedBy: readonly string[] = [],
): Settings {
  const problems = [...ini.problems]
  const sections = new SectionReader(ini, problems)

  const general = {
    ...schema.LISTENER_DEFAULTS,
    ...sections.read('main', schema.partial(schema.main)),
    ...sections.read('routing', schema.partial(schema.routing)),
    ...sections.read('restrictions', schema.partial(schema.restrictions)),
  }
  const overrides = readListeners(sections)
  const routes = readRoutes(sections, own)
  const gal = sections.read('gal', schema.gal)
  const ldap = sections.read('ldap', schema.ldap(configDir))
  const http = sections.read('http', schema.http)
  const snapshot = sections.read('snapshot', schema.snapshot(configDir))
  sections.reportUnknown()

  const enabled = [general, ...overrides.values()].some((keys) => keys.enabled ?? general.enabled)
  if (enabled) reportMissingDirectory(ini, problems)
  reportCredentials(ini, sections)
  if (problems.length > 0 || !gal || !ldap || !snapshot || !http) throw new SettingsError(problems)

  const context = { routes, hostList: domainSet(hostList), gal, acceptedBy }
  const policies = new Map<string, ListenerPolicy>()
  for (const [name, keys] of cascade(general, overrides)) {
    policies.set(name, policyOf(name, keys, context))
  }
  const { url = [], base = [] } = ldap
  return {
    policies,
    gal,
    snapshot,
    ldap: url.length > 0 ? { ...ldap, url, base } : undefined,
    http: { enabled: http.enabled, allow: networkList(http.allow) },
  }
}

/**
 * The policy of the listener a client connected to; the most specific section wins.
 *
 * @param address canonical, as in {@link canonicalAddress}
 */
export function policyFor(settings: Settings, address: string, port: number): ListenerPolicy {
  const { policies } = settings
  const policy =
    policies.get(`${address}:${port}`) ??
    policies.get(`${address}:*`) ??
    policies.get(`*:${port}`) ??
    policies.get(ANY)
  if (!policy) throw new Error('settings without general policy')
  return policy
}

/** Lines of host_list that are no domain name, and so are not inbound. */
export function unusableHosts(hostList: readonly string[]): readonly string[] {
  return hostList.filter((line) => !hostDomain(line))
}

function domainSet(hostList: readonly string[]): ReadonlySet<string> {
  return new Set(hostList.map(hostDomain).filter((domain) => domain !== undefined))
}

const hostDomain = (line: string) => canonicalLiteral(line) ?? parseDomain(line)

interface PolicyContext {
  readonly routes: RouteTable
  readonly hostList: ReadonlySet<string>
  readonly gal: schema.GalSettings
  readonly acceptedBy: readonly string[]
}

function policyOf(
  name: string,
  keys: schema.ListenerKeys,
  { routes, hostList, gal, acceptedBy }: PolicyContext,
): ListenerPolicy {
  return {
    name,
    enabled: keys.enabled,
    enforce: keys.enforce,
    acceptedBy,
    mixed: keys.mixed,
    routing: {
      reroute: keys.reroute,
      routes,
      hostList: keys.host_list ? hostList : new Set(),
      anyDomain: gal.any_domain,
      alwaysAccept: localParts(gal.always_accept),
    },
    restrictions: {
      reroute: keys.reroute,
      never: listOf(keys.never),
      hosts: listOf(keys.hosts),
      localAddresses: listOf(keys.local_addresses),
      authenticated: keys.authenticated,
      neverAccounts: new Set(keys.never_accounts.map((account) => account.toLowerCase())),
      open: keys.open,
    },
  }
}

// Large lists are shared by the listeners that inherit them.
const lists = new WeakMap<schema.ListenerKeys['hosts'], NetworkList>()
function listOf(networks: schema.ListenerKeys['hosts']): NetworkList {
  const known = lists.get(networks)
  if (known) return known
  const created = networkList(networks)
  lists.set(networks, created)
  return created
}

type Overrides = ReadonlyMap<string, Partial<schema.ListenerKeys>>

// `*:587` and `10.0.0.8:*` both hold for 10.0.0.8:587, key by key, the address first.
function* cascade(
  general: schema.ListenerKeys,
  overrides: Overrides,
): Generator<[name: string, keys: schema.ListenerKeys]> {
  const split = [...overrides.keys()].map(splitListener)
  const addresses = new Set(['*', ...split.map(({ address }) => address)])
  const ports = new Set(['*', ...split.map(({ port }) => port)])
  for (const address of addresses) {
    for (const port of ports) {
      const name = `${address}:${port}`
      const byPort = overrides.get(`*:${port}`)
      const byAddress = overrides.get(`${address}:*`)
      const own = overrides.get(name)
      // Any other combination is what policyFor falls back to.
      if (name !== ANY && !own && !(byPort && byAddress)) continue
      yield [name, { ...general, ...byPort, ...byAddress, ...own }]
    }
  }
}

const splitListener = (name: string) => {
  const colon = name.lastIndexOf(':')
  return { address: name.slice(0, colon), port: name.slice(colon + 1) }
}

function readListeners(sections: SectionReader): Overrides {
  const overrides = new Map<string, Partial<schema.ListenerKeys>>()
  const written = new Map<string, string>()
  for (const section of sections.names()) {
    if (!/^listener\b/i.test(section)) continue
    const keys = sections.read(section, schema.listener)
    const name = parseListener(section)
    if (typeof name === 'object') {
      sections.report({ section, what: name.problem })
    } else if (written.has(name)) {
      sections.report({ section, what: `is the same listener as [${written.get(name)}]` })
    } else if (keys) {
      written.set(name, section)
      overrides.set(name, keys)
    }
  }
  return overrides
}

const GENERAL = 'holds for every listener; put its keys into [main], [routing] and [restrictions]'

function parseListener(section: string): string | { readonly problem: string } {
  const [, word, text = ''] = /^(listener)\s+(\S+)$/i.exec(section) ?? []
  if (word && word !== 'listener') return { problem: `probably meant: [listener ${text}]` }
  if (text === '*') return { problem: GENERAL }
  const meant = /^:?\d{1,5}$/.test(text)
    ? `*:${text.replace(':', '')}`
    : canonicalAddress(text) && `${text}:*`
  const { address, port } = splitListener(text)
  const valid =
    port === '*' || (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65535)
  const ip = address === '*' ? '*' : canonicalAddress(address)
  if (!text.includes(':') || !valid || !ip) {
    return {
      problem:
        'is not [listener <address>:<port>], where each may be *' +
        (meant
          ? `; probably meant: [listener ${meant}]`
          : ': [listener 192.0.2.1:25], [listener *:587], [listener 2001:db8::5:*]'),
    }
  }
  if (ip === '0.0.0.0' || ip === '::') {
    return {
      problem: `a connection never has the local address ${ip}; probably meant: [listener *:${port}]`,
    }
  }
  if (`${ip}:${port}` === ANY) {
    return { problem: GENERAL }
  }
  return `${ip}:${port === '*' ? port : Number(port)}`
}

/** One spelling for each IP address; IPv4-mapped IPv6 is IPv4. undefined for anything else. */
export function canonicalAddress(address: string): string | undefined {
  const ip = parseIp(address)
  if (!ip) return undefined
  if (ip.family === 4) {
    return [24, 16, 8, 0].map((shift) => (ip.bits >>> shift) & 0xff).join('.')
  }
  return canonicalLiteral(`[IPv6:${address}]`)?.slice('[ipv6:'.length, -1)
}

function readRoutes(sections: SectionReader, own: OwnHost | undefined): RouteTable {
  const section = 'routes'
  const rows: Row[] = []
  const named = new Map<string, string>()
  for (const [key, value] of sections.entries(section)) {
    const report = (what: string) =>
      sections.report({ section, key, value: shown(key, value), what })
    const sentTo = parseSentTo(key)
    if ('problem' in sentTo) {
      report(sentTo.problem)
      continue
    }
    if (typeof value !== 'string') {
      report(`a domain has one row; write ${key} = … without []`)
      continue
    }
    const routeTo = parseRouteTo(value)
    if ('problem' in routeTo) {
      const home = homeOf(key)
      report(home ? `belongs into [${home}]` : routeTo.problem)
      continue
    }
    for (const hop of routeTo.kind === 'reroute' ? [] : routeTo.hops) {
      const listener = own && ownListener(own, hop)
      if (listener)
        report(`${hop.text} is this Haraka itself, which listens on ${listener}: a loop`)
    }
    const name = sentToText(sentTo)
    const twin = named.get(name)
    if (twin === undefined) named.set(name, key)
    else report(`is the same domain as '${twin}'; a domain has one row`)
    rows.push({ sentTo, routeTo, text: key })
  }
  const table = routeTable(rows)
  for (const row of rows) {
    if (row.routeTo.kind !== 'reroute') continue
    const chain = rerouteChain(table, row)
    if (!chain) continue
    const { text: key, routeTo } = row
    const last = chain.at(-1) ?? ''
    const steps = chain.join(' → ')
    const what =
      chain.indexOf(last) < chain.length - 1
        ? `goes in a circle: ${steps}; a domain is rerouted once, to one that is not`
        : `points to another reroute row: ${steps}; a domain is rerouted once, probably meant: reroute ${last}`
    sections.report({ section, key, value: `reroute ${routeTo.domain}`, what })
  }
  return table
}

// The domains that a recipient would pass through, when there is more than one step.
function rerouteChain(table: RouteTable, first: Row): readonly string[] | undefined {
  const chain = [first.sentTo.domain]
  for (let row: Row | undefined = first; row?.routeTo.kind === 'reroute'; ) {
    const { domain } = row.routeTo
    const seen = chain.includes(domain)
    chain.push(domain)
    if (seen) return chain
    row = findRow(table, domain)
    if (row === first) return [...chain, first.sentTo.domain]
  }
  return chain.length > 2 ? chain : undefined
}

function reportMissingDirectory(ini: Ini, problems: Problem[]): void {
  const section = 'ldap'
  const given = ini.sections.get(section)
  if (!given?.get('url')?.length) {
    const what = 'is missing: url[] = ldaps://dc1.corp.example'
    problems.push({ file: FILE, section, key: 'url[]', what })
  }
  if (given?.get('base') === undefined) {
    const what = 'is missing: base = dc=corp,dc=example'
    problems.push({ file: FILE, section, key: 'base', what })
  }
}

// What is left out would pass: servers take a name without password for an anonymous bind.
function reportCredentials(ini: Ini, sections: SectionReader): void {
  const section = 'ldap'
  const report = (key: string, what: string) => sections.report({ section, key, what })
  const has = (key: string) => Boolean(ini.sections.get(section)?.get(key))
  const [password, another] = ['bind_password', 'bind_password_file'].filter(has)
  if (password && another) report(another, `stands beside ${password}, and only one can count`)
  if (password && !has('bind_dn')) report(password, 'is for nothing without bind_dn')
  if (has('bind_dn') && !password) report('bind_dn', 'has no bind_password or bind_password_file')
}

/** What is wrong with a value, when somebody may have put a comment behind it. */
function orComment(what: string, value: unknown): string {
  if (typeof value !== 'string' || !/\S\s+[;#]/.test(value)) return what
  return what === ONE_EACH || what === COMMENT ? COMMENT : `${what}; ${COMMENT}`
}

const shown = (key: string, value: string | readonly string[]) =>
  shownValue(key, typeof value === 'string' ? value : value.join(', '))

/** Reads sections with their schemas and turns what is wrong into problems. */
class SectionReader {
  private readonly known = new Set<string>()

  constructor(
    private readonly ini: Ini,
    private readonly problems: Problem[],
  ) {}

  names(): readonly string[] {
    return [...this.ini.sections.keys()]
  }

  entries(section: string): readonly (readonly [string, string | readonly string[]])[] {
    this.known.add(section)
    return [...(this.ini.sections.get(section) ?? [])]
  }

  report(problem: Omit<Problem, 'file'>): void {
    const { section = '', key, value } = problem
    const what = orComment(problem.what, value)
    this.problems.push({ file: FILE, line: this.ini.lineOf(section, key), ...problem, what })
  }

  /** @returns undefined when the section has a problem */
  read<T extends ZodType>(section: string, shape: T): z.output<T> | undefined {
    const entries = this.entries(section)
    const result = shape.safeParse(Object.fromEntries(entries))
    if (result.success) return result.data
    this.reportIssues(section, new Map(entries), shape, result.error)
    return undefined
  }

  reportUnknown(): void {
    for (const section of this.names()) {
      if (this.known.has(section)) continue
      const meant = didYouMean(section, [...SECTIONS, 'listener *:587'])
      this.report({
        section,
        what: `there is no such section${meant ? `; probably meant: [${meant}]` : ''}`,
      })
    }
  }

  private reportIssues(
    section: string,
    values: ReadonlyMap<string, string | readonly string[]>,
    shape: ZodType,
    error: ZodError,
  ): void {
    for (const issue of error.issues) {
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys)
          this.report({ section, key, what: unknownKey(section, key, shape) })
        continue
      }
      const [key, index] = issue.path as [string, number | undefined]
      const value = values.get(key)
      const one = Array.isArray(value) && index !== undefined ? value[index] : value
      this.problems.push({
        file: FILE,
        line: this.ini.lineOf(section, key, index),
        section,
        key: Array.isArray(value) ? `${key}[]` : key,
        value: one === undefined ? undefined : shown(key, one),
        what: orComment(
          issue.code === 'custom' ? issue.message : `takes one value; write ${key} = …, without []`,
          one,
        ),
      })
    }
  }
}

/** Every key, by its section; a `[listener …]` section may have those of the first three. */
export const SECTION_KEYS: Readonly<Record<string, readonly string[]>> = {
  main: Object.keys(schema.main),
  routing: Object.keys(schema.routing),
  restrictions: Object.keys(schema.restrictions),
  gal: Object.keys(schema.gal.shape),
  ldap: Object.keys(schema.ldap('').shape),
  snapshot: Object.keys(schema.snapshot('').shape),
  http: Object.keys(schema.http.shape),
}
export const SECTIONS: readonly string[] = [...Object.keys(SECTION_KEYS), 'routes']

const homeOf = (key: string) =>
  Object.keys(SECTION_KEYS).find((section) => SECTION_KEYS[section]?.includes(key))

function unknownKey(section: string, key: string, shape: ZodType): string {
  const home = homeOf(key)
  if (home) return `belongs into [${home}]`
  const own = 'shape' in shape ? Object.keys(shape.shape as object) : []
  const meant = didYouMean(key, own) ?? didYouMean(key, Object.values(SECTION_KEYS).flat())
  if (meant) return `there is no such key; probably meant: ${meant}`
  if (section === 'main' && parseDomain(key)?.includes('.')) {
    return 'there is no such key; rows of the routing table go into [routes]'
  }
  return 'there is no such key'
}

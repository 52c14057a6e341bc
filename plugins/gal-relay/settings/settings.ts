// Turns gal_relay.ini into one immutable, validated policy per listener. All problems are found and
// reported, not just the first; if there is one, there are no settings.
import type { RoutingPolicy } from '../routing/decide'
import { localParts } from '../routing/local-parts'
import { type NetworkList, networkListSteps, parseIp } from '../routing/networks'
import { canonicalLiteral } from '../routing/recipient'
import type { Restrictions } from '../routing/restrictions'
import type { RouteTable } from '../routing/routes'
import type { Trusted } from '../trusted-file'
import { type Directories, directoriesFor, readDirectories, reportUncovered } from './directories'
import {
  reportCredentials,
  reportMissingDirectory,
  reportWhatIsReceived,
} from './directory-section'
import type { Enforcement } from './enforcement'
import { inboundHosts } from './host-list'
import type { Ini } from './ini'
import { readMailboxHosts } from './mailbox-hosts'
import { type OwnHost, ownListener } from './own-host'
import { settingsErrorSteps } from './problem'
import { type RedisSettings, reportRedis } from './redis'
import { readRoutes } from './routes-section'
import * as schema from './schema'
import { SectionReader } from './sections'
import { atOnce, type Steps } from './steps'
import type { Values } from './values'

export type { ServerUrl } from '../ldap/options'
export type { SnapshotSettings } from './list-channel'
export type { RedisSettings } from './redis'
export type { GalSettings, LdapSettings } from './schema'

/** The settings in effect on one listener. */
export interface ListenerPolicy {
  /** The sections it was made from, for the log: `*:587`, or `*:*` for the general settings. */
  readonly name: string
  readonly enabled: boolean
  /** What the policy does not decide is logged and counted, and left for Haraka to answer. */
  readonly enforce: Enforcement
  /** The other plugins of this Haraka that accept recipients. */
  readonly acceptedBy: readonly string[]
  /** What to do if a transaction has recipients of both kinds: split it, or defer the second kind. */
  readonly mixed: 'split' | 'defer'
  readonly routing: RoutingPolicy
  readonly restrictions: Restrictions
}

export interface Settings {
  /** Keyed by `address:port`, `address:*`, `*:port` and `*:*`; use {@link policyFor}. */
  readonly policies: ReadonlyMap<string, ListenerPolicy>
  readonly directories: Directories
  /** Metrics and the status page, and the clients that may see them. */
  readonly http: { readonly enabled: boolean; readonly allow: NetworkList }
  readonly harvest: HarvestSettings
  /** The Redis through which servers share counts; `undefined` if they share none. */
  readonly redis: RedisSettings | undefined
}

export type HarvestSettings = Readonly<
  Omit<Values<typeof schema.harvest>, 'exempt'> & {
    /** Networks that are never counted. */
    readonly exempt: NetworkList
  }
>

const ANY = '*:*'

/**
 * @param hostList the lines of config/host_list
 * @param configDir the folder that relative file names start from
 * @param own this host, which no row may name as its next hop
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
  const { domains } = atOnce(inboundHosts(hostList))
  return atOnce(readSettingsSteps(ini, domains, configDir, own, acceptedBy))
}

/**
 * The same in short steps.
 * @param hosts the domains of config/host_list, from {@link inboundHosts}
 * @param trusted the users and groups whose files are trusted
 * @param redisElsewhere the Redis through which servers share what they know, unless [redis] names one
 */
export function* readSettingsSteps(
  ini: Ini,
  hosts: ReadonlySet<string>,
  configDir: string,
  own?: OwnHost,
  acceptedBy: readonly string[] = [],
  trusted?: Trusted,
  redisElsewhere?: RedisSettings,
): Steps<Settings> {
  const problems = [...ini.problems]
  const sections = new SectionReader(ini, problems)

  const general = {
    ...schema.LISTENER_DEFAULTS,
    ...(yield* sections.read('main', schema.partial(schema.main))),
    ...(yield* sections.read('routing', schema.partial(schema.routing))),
    ...(yield* sections.read('restrictions', schema.partial(schema.restrictions))),
  }
  const overrides = yield* readListeners(sections)
  const routes = yield* readRoutes(sections, own)
  const mailboxHosts = yield* readMailboxHosts(sections, own)
  const gal = yield* sections.read('gal', schema.gal)
  const ldap = yield* sections.read('ldap', schema.ldap(configDir))
  const http = yield* sections.read('http', schema.http)
  const snapshot = yield* sections.read('snapshot', schema.snapshot(configDir))
  const harvest = yield* sections.read('harvest', schema.harvest)
  const redisKeys = yield* sections.read('redis', schema.redis(configDir))
  if (redisKeys && ini.sections.has('redis')) reportRedis(redisKeys, sections)
  const redis = redisKeys?.url.length ? { ...redisKeys, trusted } : redisElsewhere

  const enabled = [general, ...overrides.values()].some((keys) => keys.enabled ?? general.enabled)
  const isNamed = sections.names().some((section) => /^directory\b/i.test(section))
  const isDefault = ['url', 'base'].some((key) => ini.sections.get('ldap')?.has(key))
  if (gal?.mode === 'received') {
    for (const section of ['ldap', 'gal']) reportWhatIsReceived(ini, section, sections, '[gal]')
  } else {
    if (isDefault || (enabled && !isNamed)) reportMissingDirectory(ini, 'ldap', problems)
    reportCredentials(ini, 'ldap', sections, ldap?.bind_method)
  }
  const directories =
    gal && ldap && snapshot
      ? yield* readDirectories(
          ini,
          sections,
          { gal, ldap, snapshot, trusted, redis },
          configDir,
          problems,
        )
      : undefined
  if (enabled && directories && directories.all.length > 0) {
    const usesHosts = [general, ...overrides.values()].some(
      (keys) => keys.host_list ?? general.host_list,
    )
    yield* reportUncovered(sections, directories, routes, usesHosts ? hosts : NO_HOSTS, problems)
  }
  yield* sections.reportUnknown()
  if (problems.length > 0 || !gal || !directories || !http || !harvest || !redisKeys) {
    throw yield* settingsErrorSteps(problems)
  }

  const context: PolicyContext = {
    routes,
    hosts,
    anyDomain: gal.any_domain,
    alwaysAccept: localParts(gal.always_accept),
    delimitersFor: (domain) => delimitersOf(directoriesFor(directories, domain), gal),
    mailboxHosts,
    isOwn: (hop) => own !== undefined && ownListener(own, hop) !== undefined,
    acceptedBy,
    lists: new Map(),
    accounts: new Map(),
  }
  const policies = new Map<string, ListenerPolicy>()
  for (const [name, keys] of cascade(general, overrides)) {
    policies.set(name, yield* policyOf(name, keys, context))
  }
  return {
    policies,
    directories,
    http: { enabled: http.enabled, allow: yield* networkListSteps(http.allow) },
    harvest: { ...harvest, exempt: yield* networkListSteps(harvest.exempt) },
    redis,
  }
}

/**
 * Returns the policy of the listener that a client connected to; the most specific section wins.
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

/** What all listeners share; lists are built once for all listeners that inherit them. */
interface PolicyContext {
  readonly routes: RouteTable
  readonly hosts: ReadonlySet<string>
  readonly anyDomain: boolean
  readonly alwaysAccept: RoutingPolicy['alwaysAccept']
  readonly delimitersFor: RoutingPolicy['delimitersFor']
  readonly mailboxHosts: RoutingPolicy['mailboxHosts']
  readonly isOwn: RoutingPolicy['isOwn']
  readonly acceptedBy: readonly string[]
  readonly lists: Map<schema.ListenerKeys['hosts'], NetworkList>
  readonly accounts: Map<schema.ListenerKeys['never_accounts'], ReadonlySet<string>>
}

function* policyOf(
  name: string,
  keys: schema.ListenerKeys,
  { hosts, acceptedBy, lists, accounts, ...common }: PolicyContext,
): Steps<ListenerPolicy> {
  yield
  const lowerCase = () => new Set(keys.never_accounts.map((account) => account.toLowerCase()))
  const neverAccounts = accounts.get(keys.never_accounts) ?? lowerCase()
  accounts.set(keys.never_accounts, neverAccounts)
  return {
    name,
    enabled: keys.enabled,
    enforce: keys.enforce,
    acceptedBy,
    mixed: keys.mixed,
    routing: {
      ...common,
      reroute: keys.reroute,
      hostList: keys.host_list ? hosts : NO_HOSTS,
    },
    restrictions: {
      reroute: keys.reroute,
      never: yield* networkListOf(lists, keys.never),
      hosts: yield* networkListOf(lists, keys.hosts),
      localAddresses: yield* networkListOf(lists, keys.local_addresses),
      authenticated: keys.authenticated,
      neverAccounts,
      open: keys.open,
    },
  }
}

/** With several directories, all delimiters that any of them uses for sub-addresses. */
function delimitersOf(
  asked: readonly { readonly gal: schema.GalSettings }[],
  otherwise: schema.GalSettings,
): string {
  const [only = { gal: otherwise }] = asked
  if (asked.length < 2) return only.gal.recipient_delimiter
  return [...new Set(asked.flatMap(({ gal }) => [...gal.recipient_delimiter]))].join('')
}

const NO_HOSTS: ReadonlySet<string> = new Set()

function* networkListOf(
  lists: PolicyContext['lists'],
  networks: schema.ListenerKeys['hosts'],
): Steps<NetworkList> {
  const known = lists.get(networks)
  if (known) return known
  const created = yield* networkListSteps(networks)
  lists.set(networks, created)
  return created
}

type Overrides = ReadonlyMap<string, Partial<schema.ListenerKeys>>

// `*:587` and `10.0.0.8:*` both apply to 10.0.0.8:587, key by key, with the address first.
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
      const [own, byAddress, byPort] = layersOf(name).map((one) => overrides.get(one))
      // policyFor falls back to the other policies for any other combination.
      if (name !== ANY && !own && !(byPort && byAddress)) continue
      yield [name, { ...general, ...byPort, ...byAddress, ...own }]
    }
  }
}

/** The sections whose keys apply to a listener: the one that wins first, the general ones last. */
export function layersOf(
  listener: string,
): readonly [own: string, byAddress: string, byPort: string] {
  const { address, port } = splitListener(listener)
  return [listener, `${address}:*`, `*:${port}`]
}

const splitListener = (name: string) => {
  const colon = name.lastIndexOf(':')
  return { address: name.slice(0, colon), port: name.slice(colon + 1) }
}

function* readListeners(sections: SectionReader): Steps<Overrides> {
  const overrides = new Map<string, Partial<schema.ListenerKeys>>()
  const written = new Map<string, string>()
  for (const section of sections.names()) {
    yield
    if (!/^listener\b/i.test(section)) continue
    const keys = yield* sections.read(section, schema.listener)
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

const GENERAL = 'applies to every listener; put its keys into [main], [routing] and [restrictions]'

/** @returns the listener that a section is for, or what is wrong with the section's name */
export function parseListener(section: string): string | { readonly problem: string } {
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

/** Returns one spelling for each IP address; IPv4-mapped IPv6 becomes IPv4. `undefined` if it is none. */
export function canonicalAddress(address: string): string | undefined {
  const ip = parseIp(address)
  if (!ip) return undefined
  if (ip.family === 4) {
    return [24, 16, 8, 0].map((shift) => (ip.bits >>> shift) & 0xff).join('.')
  }
  return canonicalLiteral(`[IPv6:${address}]`)?.slice('[ipv6:'.length, -1)
}

// Every key of gal_relay.ini: its kind of value, its default and its meaning. This is the only
// source of the settings' types, defaults and error messages, and of what config/gal_relay.ini and
// the README must list.
import { isIP } from 'node:net'
import path from 'node:path'
import * as v from 'valibot'
import type { ServerUrl } from '../ldap/options'
import { dnProblem, filterProblem } from '../ldap/syntax'
import { exactText, parseDomain, parseSentTo, redactUserinfo } from '../routing/routes'
import type { Trusted } from '../trusted-file'
import { parseRedisUrl, REDIS_PREFIX } from './redis-url'
import * as value from './values'

/** Keys that a `[listener …]` section may override, by the section that holds their default. */
export const main = {
  enabled: value.flag,
  enforce: value.flagOr('relaying'),
}

export const routing = {
  reroute: value.flag,
  host_list: value.flag,
  mixed: value.word('split', 'defer'),
}

export const restrictions = {
  authenticated: value.flag,
  hosts: value.list(value.network),
  local_addresses: value.list(value.network),
  never: value.list(value.network),
  never_accounts: value.list(value.account),
  open: value.flag,
}

/** A listener's settings if neither its own section nor the general ones set them. */
export const LISTENER_DEFAULTS: ListenerKeys = {
  enabled: true,
  enforce: true,
  reroute: true,
  host_list: true,
  mixed: 'split',
  authenticated: false,
  hosts: [],
  local_addresses: [],
  never: [],
  never_accounts: ['guest', 'anonymous'],
  open: false,
}

const listenerKeys = { ...main, ...routing, ...restrictions }
export type ListenerKeys = value.Values<typeof listenerKeys>

/** What one section sets of these keys itself. */
export const partial = <T extends value.Fields>(fields: T) => v.partial(v.object(fields)).entries
export const listener = partial(listenerKeys)

const attribute = value.textRead((name, wrong) => {
  // An OID is a valid name too.
  if (/^([a-z][a-z0-9-]*|\d+(\.\d+)+)$/i.test(name)) return name
  return wrong(name.includes(',') ? value.ONE_EACH : 'is not an attribute name')
})

/** The name of one attribute, or none. */
const attributeOr = (usual: string) =>
  v.optional(
    value.textRead((name, wrong) => {
      if (name === '' || name === 'none') return ''
      return /^[a-z][a-z0-9-]*$/i.test(name) ? name : wrong('is not an attribute name')
    }),
    usual,
  )

const filter = value.textRead((text, wrong) => {
  const problem = filterProblem(text)
  return problem ? wrong(problem) : text
})

const delimiters = value.textRead((text, wrong) => {
  if (text === 'none') return ''
  if (/[%!]/.test(text)) {
    return wrong('contains % or !, by which a local part asks for delivery elsewhere')
  }
  if (/^[^a-z0-9\s@".\\]{0,8}$/i.test(text)) return [...new Set(text)].join('')
  return wrong("is not a character such as '+', several such as '+-', or none")
})

export const gal = {
  mode: v.optional(value.word('live', 'snapshot', 'received'), 'live'),
  attributes: v.optional(
    v.pipe(
      value.list(attribute),
      v.check((names) => names.length > 0, 'is empty, so nobody would be found'),
    ),
    ['proxyAddresses', 'mail'],
  ),
  filter: v.optional(filter, '(objectClass=*)'),
  any_domain: v.optional(value.flag, 'false'),
  always_accept: v.optional(value.localParts, ['postmaster']),
  recipient_delimiter: v.optional(delimiters, ''),
  x500: v.optional(value.flag, 'false'),
  authenticated_only_attribute: attributeOr('msExchRequireAuthToSendTo'),
  host_attribute: attributeOr(''),
  routing_attribute: attributeOr(''),
  cache_found: v.optional(value.duration(), '15m'),
  cache_absent: v.optional(value.duration(), '1m'),
  cache_stale: v.optional(value.duration(), '4h'),
  cache_size: v.optional(value.count(1, 10_000_000), '100000'),
}
export type GalSettings = Readonly<value.Values<typeof gal>>

/** Node's timers count milliseconds in 31 bits; one set for longer fires at once. */
const LONGEST_TIMER = '24d'

/** @param configDir the folder that relative file names start from */
export const snapshot = (configDir: string) => ({
  // Beside the queue folder, if that is where Haraka puts it by default.
  file: v.optional(value.file(configDir), '../gal_relay.snapshot'),
  full_every: v.optional(value.duration('1s', LONGEST_TIMER), '6h'),
  changes_every: v.optional(value.duration('1s', '10m'), '30s'),
  usable_for: v.optional(value.duration(), '7d'),
  shrink_limit: v.optional(value.share, '20%'),
  share: v.optional(value.word('none', 'redis'), 'none'),
  key_file: v.optional(value.file(configDir), ''),
  // '': Redis if there is one, otherwise the file itself.
  received_from: v.optional(value.fileOr('redis', configDir), ''),
})
export type SnapshotKeys = Readonly<value.Values<ReturnType<typeof snapshot>>> & Believing

/** Whose files the install trusts. */
interface Believing {
  readonly trusted?: Trusted
}

const LDAP_PORT = { ldap: 389, ldaps: 636, srv: 0 } as const

/** The socket's place on most systems. */
const LDAPI_SOCKET = '/var/run/slapd/ldapi'

/** The ports of LDAP over TLS and of a Global Catalog over TLS. */
const TLS_PORTS = new Set(['636', '3269'])

const serverUrl = value.textRead((url, wrong): ServerUrl => {
  const [, schemeText = '', rest = ''] = /^([a-z]+):\/\/(.*)$/i.exec(url) ?? []
  if (schemeText.toLowerCase() === 'ldapi') return socketUrl(url, rest, wrong)
  const scheme = (['ldap', 'ldaps', 'srv'] as const).find(
    (name) => name === schemeText.toLowerCase(),
  )
  if (/[\s,]+\S*:\/\//.test(url) || (!scheme && /[\s,]/.test(url))) {
    return wrong(value.ONE_EACH)
  }
  if (!scheme) {
    const [, host = '', port = ''] = /^([^/:]+)(?::(\d+))?$/.exec(url) ?? []
    const meant = TLS_PORTS.has(port) ? 'ldaps' : 'ldap'
    const hint = parseDomain(host) ? `; probably meant: ${meant}://${url}` : ''
    return wrong(`is not an ldap://, ldaps://, ldapi:// or srv:// URL${hint}`)
  }
  if (rest.includes('@')) {
    return wrong('contains a user name or password; put these into bind_dn and bind_password')
  }
  const [, authority = '', path = ''] = /^([^/?]*)\/?(.*)$/.exec(rest) ?? []
  if (dnProblem(path)) return wrong('has more than a host and a port after ://')
  if (path !== '') {
    return wrong(`has '${path}' after the host; a search base goes into base = ${path}`)
  }
  const [, ipv6, name, portText] =
    /^(?:\[([\da-f:.]+)\]|([^:[\]]+))(?::(\d+))?$/i.exec(authority) ?? []
  const host = ipv6 ?? name
  const port = portText === undefined ? LDAP_PORT[scheme] : Number(portText)
  const named = ipv6 !== undefined || (name && (/^[\d.]+$/.test(name) || parseDomain(name)))
  if (!host || !named) return wrong('has no host name or [IPv6] address after ://')
  if (scheme === 'srv' && portText !== undefined) {
    return wrong('must not have a port; SRV records name it')
  }
  if (scheme !== 'srv' && (port < 1 || port > 65535)) {
    return wrong('has a port that is not from 1 to 65535')
  }
  return { scheme, host, port, text: redactUserinfo(url) }
})

function socketUrl(url: string, rest: string, wrong: value.Wrong): ServerUrl {
  const [, encoded = ''] = /^([^/]*)\/?$/.exec(rest) ?? [undefined, '?']
  let host = ''
  try {
    host = decodeURIComponent(encoded) || LDAPI_SOCKET
  } catch {}
  if (path.isAbsolute(host)) return { scheme: 'ldapi', host, port: 0, text: url }
  return wrong(
    'does not name a socket: ldapi:/// for the usual one, or ldapi://%2Fvar%2Frun%2Fslapd%2Fldapi',
  )
}

// A DN may contain either sign, but no ; that an attribute does not follow, and no blank and #
// within a dc= or after a name that is not a DN.
const COMMENT_BEHIND_DN = /\s;(?!\s*[\w.-]+\s*=)|\bdc=[^,]*\s#|^[^=]*\s#\s/i

const dn = value.textRead((name, wrong) => {
  if (COMMENT_BEHIND_DN.test(name)) return wrong(value.COMMENT)
  const problem = dnProblem(name)
  if (!problem) return name
  const domain = parseDomain(name)
  const meant = domain?.includes('.') && `dc=${domain.split('.').join(',dc=')}`
  if (meant) return wrong(`is not a DN; probably meant: ${meant}`)
  // The problem text repeats the value.
  return wrong(redactUserinfo(name) === name ? `is not a DN: ${problem}` : 'is not a DN')
})

/** Besides DNs, Active Directory accepts user@domain and DOMAIN\user. */
const bindName = value.textRead((name, wrong) =>
  COMMENT_BEHIND_DN.test(name) ? wrong(value.COMMENT) : name,
)

/** A host as a referral names it, without scheme and port. */
const referralHost = value.textRead((text, wrong) => {
  const host = /^\[?([\da-f:.]+)\]?$/i.exec(text)?.[1] ?? text
  if (parseDomain(host) || isIP(host)) return host.toLowerCase()
  const [, meant] = /^(?:ldaps?:\/\/)?([^/:]+)(?::\d+)?\/?$/i.exec(text) ?? []
  return wrong(`is not a host name${meant ? `; probably meant: ${meant}` : ''}`)
})

/** @param configDir the folder that relative file names start from */
export const ldap = (configDir: string) => ({
  url: v.optional(value.list(serverUrl)),
  // An empty base is valid: with it, a Global Catalog searches the whole forest.
  base: v.optional(
    v.pipe(
      value.oneOrMore,
      v.transform((given) => (given.length === 0 ? [''] : [given].flat())),
      v.array(dn),
    ),
  ),
  bind_method: v.optional(value.word('simple', 'external'), 'simple'),
  bind_dn: v.optional(bindName, ''),
  bind_password: v.optional(value.text, ''),
  bind_password_file: v.optional(value.file(configDir), ''),
  dereference: v.optional(value.word('never', 'search', 'find', 'always'), 'never'),
  starttls: v.optional(value.flag, 'false'),
  tls_ca: v.optional(value.file(configDir), ''),
  tls_cert: v.optional(value.file(configDir), ''),
  tls_key: v.optional(value.file(configDir), ''),
  tls_verify: v.optional(value.flag, 'true'),
  connections: v.optional(value.count(1, 100), '2'),
  connect_timeout: v.optional(value.duration('10ms', '25s'), '2s'),
  query_timeout: v.optional(value.duration('10ms', '25s'), '2s'),
  // Shorter than the time for which Haraka lets a plugin keep a client waiting (plugin_timeout, 30 s).
  answer_within: v.optional(value.duration('10ms', '25s'), '5s'),
  retry_after: v.optional(value.durationRange, '1s to 30s'),
  referrals: v.optional(value.word('report', 'follow'), 'report'),
  referral_hosts: v.optional(value.list(referralHost), []),
})
export type LdapKeys = value.Values<ReturnType<typeof ldap>>
export type LdapSettings = Readonly<
  Omit<LdapKeys, 'url' | 'base'> & {
    readonly url: readonly ServerUrl[]
    readonly base: readonly string[]
  }
> &
  Believing

const domainPattern = value.textRead((text, wrong) => {
  if (/[\s,]/.test(text)) return wrong(value.ONE_EACH)
  const parsed = parseSentTo(text)
  if ('problem' in parsed) return wrong(parsed.problem)
  if (parsed.match !== 'address') return parsed
  return wrong(`is an address; probably meant: ${exactText(parsed.domain)}`)
})

/** A `[directory NAME]` section. @param configDir the folder that relative file names start from */
export const directory = (configDir: string) => {
  // These two say what is ours, which no directory decides.
  const { any_domain, always_accept, ...ofGal } = gal
  return {
    domains: v.optional(value.list(domainPattern), []),
    ...ofGal,
    ...ldap(configDir),
    ...snapshot(configDir),
  }
}
export type DirectoryKeys = value.Values<ReturnType<typeof directory>>

export const http = {
  enabled: v.optional(value.flag, 'false'),
  allow: v.optional(value.list(value.network), ['127.0.0.1', '::1']),
}

/** Harvest defence. */
export const harvest = {
  enabled: v.optional(value.flag, 'false'),
  unknown_limit: v.optional(value.count(3, 1_000_000), '30'),
  unknown_share: v.optional(value.share, '80%'),
  window: v.optional(value.duration('1s', '1d'), '10m'),
  hold_off: v.optional(value.duration('1s', LONGEST_TIMER), '30m'),
  slow_down: v.optional(value.delayRange('1m'), '0s to 5s'),
  network: v.optional(value.networkBits, '32, 64'),
  exempt: v.optional(value.list(value.network), []),
}

const redisUrl = value.textRead((text, wrong) => {
  const parsed = parseRedisUrl(text)
  return typeof parsed === 'string' ? wrong(parsed) : parsed
})

/** @param configDir the folder that relative file names start from */
export const redis = (configDir: string) => ({
  url: v.optional(value.list(redisUrl), []),
  password_file: v.optional(value.file(configDir), ''),
  tls_ca: v.optional(value.file(configDir), ''),
  prefix: v.optional(value.text, REDIS_PREFIX),
})

/** Keys that may be repeated, written with `[]`. */
export const LIST_KEYS: ReadonlySet<string> = new Set(
  [listenerKeys, gal, ldap(''), directory(''), http, harvest, redis('')].flatMap((fields) =>
    Object.entries<value.Field>(fields).flatMap(([key, field]) => (v.is(field, []) ? [key] : [])),
  ),
)

// Every key of gal_relay.ini: its kind of value, its default and its meaning. This is the only
// source of the settings' types, defaults and error messages, and of what config/gal_relay.ini and
// the README must list.
import { isIP } from 'node:net'
import path from 'node:path'
import { z } from 'zod'
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

const listenerKeys = z.strictObject({ ...main, ...routing, ...restrictions })
export type ListenerKeys = z.output<typeof listenerKeys>

/** The same keys, all optional: what one section sets itself. */
export const partial = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape).partial()
export const listener = listenerKeys.partial()

const attribute = z.string().transform((name, ctx) => {
  // An OID is a valid name too.
  if (/^([a-z][a-z0-9-]*|\d+(\.\d+)+)$/i.test(name)) return name
  return value.wrong(ctx, name.includes(',') ? value.ONE_EACH : 'is not an attribute name')
})

/** The name of one attribute, or none. */
const attributeOr = (usual: string) =>
  z
    .string()
    .transform((name, ctx) => {
      if (name === '' || name === 'none') return ''
      return /^[a-z][a-z0-9-]*$/i.test(name) ? name : value.wrong(ctx, 'is not an attribute name')
    })
    .default(usual)

export const gal = z.strictObject({
  mode: value.word('live', 'snapshot', 'received').default('live'),
  attributes: value
    .list(attribute)
    .refine((names) => names.length > 0, 'is empty, so nobody would be found')
    .default(['proxyAddresses', 'mail']),
  filter: z
    .string()
    .transform((filter, ctx) => {
      const problem = filterProblem(filter)
      return problem ? value.wrong(ctx, problem) : filter
    })
    .default('(objectClass=*)'),
  any_domain: value.flag.default(false),
  always_accept: value.localParts.default(['postmaster']),
  recipient_delimiter: z
    .string()
    .transform((delimiters, ctx) => {
      if (delimiters === 'none') return ''
      if (/[%!]/.test(delimiters)) {
        return value.wrong(
          ctx,
          'contains % or !, by which a local part asks for delivery elsewhere',
        )
      }
      if (/^[^a-z0-9\s@".\\]{0,8}$/i.test(delimiters)) return [...new Set(delimiters)].join('')
      return value.wrong(ctx, "is not a character such as '+', several such as '+-', or none")
    })
    .default(''),
  x500: value.flag.default(false),
  authenticated_only_attribute: attributeOr('msExchRequireAuthToSendTo'),
  host_attribute: attributeOr(''),
  routing_attribute: attributeOr(''),
  cache_found: value.duration().default(15 * 60_000),
  cache_absent: value.duration().default(60_000),
  cache_stale: value.duration().default(4 * 3_600_000),
  cache_size: value.count(1, 10_000_000).default(100_000),
})
export type GalSettings = Readonly<z.output<typeof gal>>

/** Node's timers count milliseconds in 31 bits; one set for longer fires at once. */
const LONGEST_TIMER = '24d'

/** @param configDir the folder that relative file names start from */
export const snapshot = (configDir: string) =>
  z.strictObject({
    // Beside the queue folder, if that is where Haraka puts it by default.
    file: value.file(configDir).default(path.resolve(configDir, '..', 'gal_relay.snapshot')),
    full_every: value.duration('1s', LONGEST_TIMER).default(6 * 3_600_000),
    changes_every: value.duration('1s', '10m').default(30_000),
    usable_for: value.duration().default(7 * 86_400_000),
    shrink_limit: value.share.default(0.2),
    share: value.word('none', 'redis').default('none'),
    key_file: value.file(configDir).default(''),
    // '': Redis if there is one, otherwise the file itself.
    received_from: value.fileOr('redis', configDir).default(''),
  })
export type SnapshotKeys = Readonly<z.output<ReturnType<typeof snapshot>>> & Believing

/** Whose files the install trusts. */
interface Believing {
  readonly trusted?: Trusted
}

const LDAP_PORT = { ldap: 389, ldaps: 636, srv: 0 } as const

/** The socket's place on most systems. */
const LDAPI_SOCKET = '/var/run/slapd/ldapi'

/** The ports of LDAP over TLS and of a Global Catalog over TLS. */
const TLS_PORTS = new Set(['636', '3269'])

const serverUrl = z.string().transform((url, ctx): ServerUrl => {
  const [, schemeText = '', rest = ''] = /^([a-z]+):\/\/(.*)$/i.exec(url) ?? []
  if (schemeText.toLowerCase() === 'ldapi') return socketUrl(url, rest, ctx)
  const scheme = (['ldap', 'ldaps', 'srv'] as const).find(
    (name) => name === schemeText.toLowerCase(),
  )
  if (/[\s,]+\S*:\/\//.test(url) || (!scheme && /[\s,]/.test(url))) {
    return value.wrong(ctx, value.ONE_EACH)
  }
  if (!scheme) {
    const [, host = '', port = ''] = /^([^/:]+)(?::(\d+))?$/.exec(url) ?? []
    const meant = TLS_PORTS.has(port) ? 'ldaps' : 'ldap'
    const hint = parseDomain(host) ? `; probably meant: ${meant}://${url}` : ''
    return value.wrong(ctx, `is not an ldap://, ldaps://, ldapi:// or srv:// URL${hint}`)
  }
  if (rest.includes('@')) {
    return value.wrong(
      ctx,
      'contains a user name or password; put these into bind_dn and bind_password',
    )
  }
  const [, authority = '', path = ''] = /^([^/?]*)\/?(.*)$/.exec(rest) ?? []
  if (dnProblem(path)) return value.wrong(ctx, 'has more than a host and a port after ://')
  if (path !== '') {
    return value.wrong(ctx, `has '${path}' after the host; a search base goes into base = ${path}`)
  }
  const [, ipv6, name, portText] =
    /^(?:\[([\da-f:.]+)\]|([^:[\]]+))(?::(\d+))?$/i.exec(authority) ?? []
  const host = ipv6 ?? name
  const port = portText === undefined ? LDAP_PORT[scheme] : Number(portText)
  const named = ipv6 !== undefined || (name && (/^[\d.]+$/.test(name) || parseDomain(name)))
  if (!host || !named) return value.wrong(ctx, 'has no host name or [IPv6] address after ://')
  if (scheme === 'srv' && portText !== undefined) {
    return value.wrong(ctx, 'must not have a port; SRV records name it')
  }
  if (scheme !== 'srv' && (port < 1 || port > 65535)) {
    return value.wrong(ctx, 'has a port that is not from 1 to 65535')
  }
  return { scheme, host, port, text: redactUserinfo(url) }
})

function socketUrl(url: string, rest: string, ctx: z.RefinementCtx<unknown>): ServerUrl {
  const [, encoded = ''] = /^([^/]*)\/?$/.exec(rest) ?? [undefined, '?']
  let host = ''
  try {
    host = decodeURIComponent(encoded) || LDAPI_SOCKET
  } catch {}
  if (path.isAbsolute(host)) return { scheme: 'ldapi', host, port: 0, text: url }
  return value.wrong(
    ctx,
    'does not name a socket: ldapi:/// for the usual one, or ldapi://%2Fvar%2Frun%2Fslapd%2Fldapi',
  )
}

// A DN may contain either sign, but no ; that an attribute does not follow, and no blank and #
// within a dc= or after a name that is not a DN.
const COMMENT_BEHIND_DN = /\s;(?!\s*[\w.-]+\s*=)|\bdc=[^,]*\s#|^[^=]*\s#\s/i

const dn = z.string().transform((name, ctx) => {
  if (COMMENT_BEHIND_DN.test(name)) return value.wrong(ctx, value.COMMENT)
  const problem = dnProblem(name)
  if (!problem) return name
  const domain = parseDomain(name)
  const meant = domain?.includes('.') && `dc=${domain.split('.').join(',dc=')}`
  if (meant) return value.wrong(ctx, `is not a DN; probably meant: ${meant}`)
  // The problem text repeats the value.
  return value.wrong(ctx, redactUserinfo(name) === name ? `is not a DN: ${problem}` : 'is not a DN')
})

/** Besides DNs, Active Directory accepts user@domain and DOMAIN\user. */
const bindName = z
  .string()
  .transform((name, ctx) => (COMMENT_BEHIND_DN.test(name) ? value.wrong(ctx, value.COMMENT) : name))

/** A host as a referral names it, without scheme and port. */
const referralHost = z.string().transform((text, ctx) => {
  const host = /^\[?([\da-f:.]+)\]?$/i.exec(text)?.[1] ?? text
  if (parseDomain(host) || isIP(host)) return host.toLowerCase()
  const [, meant] = /^(?:ldaps?:\/\/)?([^/:]+)(?::\d+)?\/?$/i.exec(text) ?? []
  return value.wrong(ctx, `is not a host name${meant ? `; probably meant: ${meant}` : ''}`)
})

/** @param configDir the folder that relative file names start from */
export const ldap = (configDir: string) =>
  z.strictObject({
    url: value.list(serverUrl).optional(),
    // An empty base is valid: with it, a Global Catalog searches the whole forest.
    base: z
      .union([z.string().transform((one) => [one]), z.array(z.string())])
      .transform((all) => (all.length === 0 ? [''] : all))
      .pipe(z.array(dn))
      .optional(),
    bind_method: value.word('simple', 'external').default('simple'),
    bind_dn: bindName.default(''),
    bind_password: value.text.default(''),
    bind_password_file: value.file(configDir).default(''),
    dereference: value.word('never', 'search', 'find', 'always').default('never'),
    starttls: value.flag.default(false),
    tls_ca: value.file(configDir).default(''),
    tls_cert: value.file(configDir).default(''),
    tls_key: value.file(configDir).default(''),
    tls_verify: value.flag.default(true),
    connections: value.count(1, 100).default(2),
    connect_timeout: value.duration('10ms', '25s').default(2000),
    query_timeout: value.duration('10ms', '25s').default(2000),
    // Shorter than the time for which Haraka lets a plugin keep a client waiting (plugin_timeout, 30 s).
    answer_within: value.duration('10ms', '25s').default(5000),
    retry_after: value.durationRange.default({ least: 1000, most: 30_000 }),
    referrals: value.word('report', 'follow').default('report'),
    referral_hosts: value.list(referralHost).default([]),
  })
export type LdapKeys = z.output<ReturnType<typeof ldap>>
export type LdapSettings = Readonly<
  Omit<LdapKeys, 'url' | 'base'> & {
    readonly url: readonly ServerUrl[]
    readonly base: readonly string[]
  }
> &
  Believing

const domainPattern = z.string().transform((text, ctx) => {
  if (/[\s,]/.test(text)) return value.wrong(ctx, value.ONE_EACH)
  const parsed = parseSentTo(text)
  if ('problem' in parsed) return value.wrong(ctx, parsed.problem)
  if (parsed.match !== 'address') return parsed
  return value.wrong(ctx, `is an address; probably meant: ${exactText(parsed.domain)}`)
})

/** A `[directory NAME]` section. @param configDir the folder that relative file names start from */
export const directory = (configDir: string) => {
  // These two say what is ours, which no directory decides.
  const { any_domain, always_accept, ...ofGal } = gal.shape
  return z.strictObject({
    domains: value.list(domainPattern).default([]),
    ...ofGal,
    ...ldap(configDir).shape,
    ...snapshot(configDir).shape,
  })
}
export type DirectoryKeys = z.output<ReturnType<typeof directory>>

export const http = z.strictObject({
  enabled: value.flag.default(false),
  allow: value.list(value.network).prefault(['127.0.0.1', '::1']),
})

/** Harvest defence. */
export const harvest = z.strictObject({
  enabled: value.flag.default(false),
  unknown_limit: value.count(3, 1_000_000).default(30),
  unknown_share: value.share.default(0.8),
  window: value.duration('1s', '1d').default(10 * 60_000),
  hold_off: value.duration('1s', LONGEST_TIMER).default(30 * 60_000),
  slow_down: value.delayRange('1m').default({ least: 0, most: 5000 }),
  network: value.networkBits.default({ ipv4: 32, ipv6: 64 }),
  exempt: value.list(value.network).default([]),
})

const redisUrl = z.string().transform((text, ctx) => {
  const parsed = parseRedisUrl(text)
  return typeof parsed === 'string' ? value.wrong(ctx, parsed) : parsed
})

/** @param configDir the folder that relative file names start from */
export const redis = (configDir: string) =>
  z.strictObject({
    url: value.list(redisUrl).default([]),
    password_file: value.file(configDir).default(''),
    tls_ca: value.file(configDir).default(''),
    prefix: z.string().default(REDIS_PREFIX),
  })

/** Keys that may be repeated, written with `[]`. */
export const LIST_KEYS: ReadonlySet<string> = new Set(
  [listenerKeys, gal, ldap(''), directory(''), http, harvest, redis('')].flatMap(({ shape }) =>
    Object.entries<z.ZodType>(shape).flatMap(([key, type]) =>
      type.safeParse([]).success ? [key] : [],
    ),
  ),
)

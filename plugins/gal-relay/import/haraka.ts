// The plugins for recipients and relaying that a Haraka install already uses: relay, rcpt_to.ldap
// (rcpt-ldap), ldap, queue/smtp_forward. Domains in config/host_list are inbound without a row.
import { isIP } from 'node:net'
import type { Ini } from '../settings/ini'
import { readIni } from '../settings/ini'
import { type Lookup, takeLookups } from './directory'
import {
  type Draft,
  differs,
  finish,
  type Imported,
  leaveOut,
  newDraft,
  type ReadFile,
  takeOpenRelay,
  takeRow,
} from './ini'
import { maskedNetwork, takeHosts } from './networks'
import { contentLines } from './text'

/** @param read reads a file by its name in the config folder */
export function importHaraka(read: ReadFile, title: string): Imported {
  const install = installOf(read)
  const draft = newDraft()
  const lookups = [...rcptLdapLookups(draft, install), ...ldapLookups(draft, install)]
  const taken = takeLookups(draft, lookups)
  takeDomains(draft, lookups, taken)
  takeRelay(draft, install, taken.length > 0)
  takeForwards(draft, install)
  return finish(draft, title)
}

interface Install {
  /** `undefined` if there is no such file. */
  ini(name: string): Ini | undefined
  list(name: string): readonly string[]
  /** Whether config/plugins names any of them; also true if there is no such file. */
  uses(...plugins: readonly string[]): boolean
  readonly hosts: ReadonlySet<string>
}

function installOf(read: ReadFile): Install {
  const list = (name: string) =>
    contentLines(read(name) ?? '')
      .map(({ text }) => text.trim())
      .filter((line) => !line.startsWith(';'))
  const plugins = read('plugins') === undefined ? undefined : list('plugins')
  return {
    ini(name) {
      const text = read(name)
      return text === undefined ? undefined : readIni(name, text)
    },
    list,
    uses: (...names) => !plugins || names.some((name) => plugins.includes(name)),
    hosts: new Set(list('host_list').map((line) => line.toLowerCase())),
  }
}

type Keys = ReadonlyMap<string, string | readonly string[]>

const one = (keys: Keys | undefined, key: string): string => {
  const value = keys?.get(key)
  return (typeof value === 'string' ? value : value?.[0]) ?? ''
}
const all = (keys: Keys | undefined, key: string): readonly string[] => {
  const value = keys?.get(key)
  if (typeof value === 'string') return value.split(/[\s,]+/).filter(Boolean)
  return value ?? []
}
function flag(keys: Keys | undefined, key: string, otherwise: boolean): boolean {
  const value = one(keys, key)
  return value === '' ? otherwise : /^(true|yes|ok|enabled|on|1)$/i.test(value)
}

const withScheme = (server: string) => (server.includes('://') ? server : `ldap://${server}`)

// ── rcpt_to.ldap and ldap ───────────────────────────────────────────────────────────────────────

/** `domain` is set if the section applies to one domain. */
interface DomainLookup extends Lookup {
  readonly domain?: string
}

function rcptLdapLookups(draft: Draft, install: Install): DomainLookup[] {
  const file = 'rcpt_to.ldap.ini'
  const ini = install.ini(file)
  if (!ini) return []
  if (!install.uses('rcpt_to.ldap', 'rcpt-ldap', 'haraka-plugin-rcpt-ldap')) {
    leaveOut(
      draft,
      file,
      'config/plugins does not name rcpt_to.ldap or rcpt-ldap, so it did not count',
    )
    return []
  }
  return [...ini.sections].flatMap(([section, keys]) => {
    const server = one(keys, 'server')
    if (!server) return []
    return [
      {
        from: section === 'main' ? file : `${file} [${section}]`,
        urls: server.split(/[\s,]+/).map(withScheme),
        base: one(keys, 'basedn'),
        filter: `(&(objectClass=${one(keys, 'objectclass') || '*'})(|(mail=%s)(mailAlternateAddress=%s)))`,
        bindDn: one(keys, 'binddn'),
        bindPassword: one(keys, 'bindpw'),
        ...(section === 'main' ? {} : { domain: section }),
      },
    ]
  })
}

/** A domain whose directory was left out gets no row, because all its recipients would be refused. */
function takeDomains(
  draft: Draft,
  lookups: readonly DomainLookup[],
  taken: readonly Lookup[],
): void {
  for (const lookup of lookups) {
    if (!lookup.domain) continue
    if (taken.includes(lookup)) takeRow(draft, lookup.from, `@${lookup.domain}`, 'inbound')
    else
      leaveOut(draft, lookup.from, `${lookup.domain} has no row, since its directory was not taken`)
  }
}

function ldapLookups(draft: Draft, install: Install): Lookup[] {
  const file = 'ldap.ini'
  const ini = install.ini(file)
  if (!ini) return []
  const [main, rcptTo] = [ini.sections.get('main'), ini.sections.get('rcpt_to')]
  for (const section of ['authn', 'authz', 'aliases']) {
    if (ini.sections.has(section)) {
      leaveOut(
        draft,
        `${file} [${section}]`,
        'does not concern recipients; it may stay where it is',
      )
    }
  }
  if (!rcptTo) return []
  const from = `${file} [rcpt_to]`
  if (!install.uses('ldap', 'haraka-plugin-ldap')) {
    leaveOut(draft, from, 'config/plugins does not name ldap, so it did not count')
    return []
  }
  if (!flag(main, 'tls_rejectUnauthorized', false)) {
    differs(
      draft,
      from,
      "tls_rejectUnauthorized was off; here a server's certificate must be valid: tls_ca names its authority",
    )
  }
  const timeout = one(main, 'timeout')
  return [
    {
      from,
      urls: all(main, 'server').map(withScheme),
      base: one(rcptTo, 'basedn') || one(main, 'basedn'),
      scope: one(rcptTo, 'scope') || one(main, 'scope') || 'sub',
      filter: (
        one(rcptTo, 'searchfilter') || '(&(objectclass=*)(|(mail=%a)(mailLocalAddress=%a)))'
      ).replaceAll('%a', '%s'),
      bindDn: one(main, 'binddn'),
      bindPassword: one(main, 'bindpw'),
      starttls: flag(main, 'tls_enabled', false),
      more: /^\d+$/.test(timeout) ? { query_timeout: `${timeout}ms` } : {},
    },
  ]
}

// ── relay ───────────────────────────────────────────────────────────────────────────────────────

/** @param isLookedUp whether a plugin after it looked recipients up */
function takeRelay(draft: Draft, install: Install, isLookedUp: boolean): void {
  if (!install.uses('relay', 'haraka-plugin-relay')) {
    for (const name of ['relay.ini', 'relay_acl_allow', 'relay_dest_domains.ini']) {
      if (install.ini(name))
        leaveOut(draft, name, 'config/plugins does not name relay, so it did not count')
    }
    return
  }
  const keys = install.ini('relay.ini')?.sections.get('relay')
  const isAcl = flag(keys, 'acl', true)
  const isDestDomains = flag(keys, 'dest_domains', false)
  const isForced = flag(keys, 'force_routing', true)
  const allowed = install.list('relay_acl_allow')
  if (isAcl) for (const entry of allowed) takeAcl(draft, entry)
  else if (allowed.length > 0)
    leaveOut(draft, 'relay_acl_allow', 'relay.ini has acl = false, so it did not count')
  if (flag(keys, 'all', false))
    takeOpenRelay(draft, 'relay.ini all', 'all = true accepts every recipient from everybody')
  for (const [domain, value] of install.ini('relay_dest_domains.ini')?.sections.get('domains') ??
    []) {
    const from = `relay_dest_domains.ini ${domain}`
    const action = actionIn(String(value))
    if (!action) leaveOut(draft, from, 'is not JSON, so relay could not read it either')
    else
      takeDestination(draft, install, from, domain, {
        ...action,
        isDestDomains,
        isForced,
        isLookedUp,
      })
  }
}

function takeAcl(draft: Draft, line: string): void {
  const from = `relay_acl_allow ${line}`
  const entry = (line.split('#')[0] ?? '').trim()
  const [address = '', bits] = entry.split('/')
  const family = isIP(address)
  if (family === 0) {
    leaveOut(draft, from, 'is not an IP address, so relay ignored it')
  } else if (bits === undefined) {
    takeHosts(draft, from, address)
    if (family === 6) differs(draft, from, `is taken as one host; relay read it as ${address}/32`)
  } else if (Number.parseInt(bits, 10) === 0) {
    takeHosts(draft, from, address)
    differs(draft, from, `is taken as one host, as relay reads /0`)
  } else {
    const network = maskedNetwork(entry)
    if (network) takeHosts(draft, from, network)
    else
      leaveOut(
        draft,
        from,
        `'${bits}' is not a number of bits from 0 to ${family === 6 ? 128 : 32}`,
      )
  }
}

interface Action {
  readonly action: string
  readonly nexthop: string
}

function actionIn(json: string): Action | undefined {
  try {
    const { action = '', nexthop = '' } = JSON.parse(json) as Partial<Record<string, unknown>>
    return { action: String(action), nexthop: String(nexthop) }
  } catch {
    return undefined
  }
}

interface Destination extends Action {
  readonly isDestDomains: boolean
  readonly isForced: boolean
  readonly isLookedUp: boolean
}

function takeDestination(
  draft: Draft,
  install: Install,
  from: string,
  domain: string,
  destination: Destination,
): void {
  const { action, nexthop, isDestDomains, isForced, isLookedUp } = destination
  const hop = nexthop && isForced ? ` smtp://${nexthop.replace(/^smtp:\/\//, '')}` : ''
  const row = (routeTo: string) => takeRow(draft, from, `@${domain}`, `${routeTo}${hop}`)
  if (domain === 'any') {
    leaveOut(draft, from, SMART_HOST)
  } else if (isDestDomains && action === 'continue' && isLookedUp) {
    row('inbound')
  } else if (isDestDomains && (action === 'accept' || action === 'continue')) {
    row('always-relay')
    if (action === 'continue') differs(draft, from, NOT_LOOKED_UP)
  } else if (install.hosts.has(domain.toLowerCase())) {
    leaveOut(
      draft,
      from,
      'is in host_list: its mail goes to the queue plugins, and no next hop counts',
    )
  } else if (hop) {
    row('forward')
  } else {
    leaveOut(draft, from, 'needs no row: strangers may not send there, and no next hop counts')
  }
}

const SMART_HOST =
  'a smart host has no row: leave relay in config/plugins for it, with acl = false and dest_domains = false'
const NOT_LOOKED_UP =
  'continue, with no plugin that looks recipients up, accepted everything; write inbound if the directory has them'

// ── queue/smtp_forward ──────────────────────────────────────────────────────────────────────────

function takeForwards(draft: Draft, install: Install): void {
  const file = 'smtp_forward.ini'
  const ini = install.ini(file)
  if (!ini) return
  if (!install.uses('queue/smtp_forward')) {
    leaveOut(draft, file, 'config/plugins does not name queue/smtp_forward, so it did not count')
    return
  }
  const main = ini.sections.get('main')
  const isChecked = flag(main, 'check_recipient', false)
  if (one(main, 'host'))
    leaveOut(
      draft,
      `${file} host`,
      'stays in force: rows without a next hop go to the queue plugins',
    )
  for (const [domain, keys] of ini.sections) {
    if (domain === 'main' || domain === 'tls') continue
    const from = `${file} [${domain}]`
    const host = one(keys, 'host')
    if (domain.includes('@') || !host) {
      leaveOut(
        draft,
        from,
        host ? 'rows are for domains; keep queue/smtp_forward for this address' : 'names no host',
      )
      continue
    }
    const port = one(keys, 'port')
    const hop = `smtp://${isIP(host) === 6 ? `[${host}]` : host}${port ? `:${port}` : ''}`
    const isOurs = isChecked || install.hosts.has(domain.toLowerCase())
    const isOutbound = flag(keys, 'enable_outbound', flag(main, 'enable_outbound', false))
    if (!isOurs && !isOutbound) {
      leaveOut(
        draft,
        from,
        'is not in host_list, and check_recipient and enable_outbound are off: nothing was accepted for it',
      )
      continue
    }
    takeRow(draft, from, `@${domain}`, `${isOurs ? 'inbound' : 'forward'} ${hop}`)
    if (one(keys, 'auth_user') || one(main, 'auth_user')) {
      leaveOut(
        draft,
        from,
        `it logs in there; write the account into the row: ${hop.replace('://', '://user:password@')}`,
      )
    }
  }
}

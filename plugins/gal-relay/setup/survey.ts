// Examines an unknown directory: what kind it is, where its entries are, which attributes hold
// addresses, of which domains, and which domains an Exchange in it accepts. It only reads.
import { addressesOf, lowerCaseNames } from '../gal/directory/entry-addresses'
import type { Connection } from '../ldap/connection'
import { DirectoryError, directoryError, resultError } from '../ldap/directory-error'
import { endpointsOf } from '../ldap/endpoints'
import type { Entry } from '../ldap/entry'
import { equals, or, present } from '../ldap/filter'
import { openConnection } from '../ldap/open'
import type { Endpoint } from '../ldap/options'
import { valuesOf } from '../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../ldap/search-request'
import { findServers } from '../ldap/srv'
import type { LdapSettings } from '../settings/settings'

export interface AcceptedDomain {
  /** As in `[routes]`: `example.com` includes its subdomains, `@example.com` does not. */
  readonly sentTo: string
  readonly kind: 'authoritative' | 'internal relay' | 'external relay'
}

export interface Survey {
  /** The server that was asked. */
  readonly server: string
  /** The name for people. */
  readonly kind: string
  readonly isActiveDirectory: boolean
  /** Whether StartTLS works with a valid certificate; if not, why. */
  readonly starttls: true | { readonly problem: string } | undefined
  /** The DNs of the subtrees that hold the entries. */
  readonly bases: readonly string[]
  /** The attributes that hold addresses, most important first; empty if we are shown nothing. */
  readonly attributes: readonly string[]
  /** Why we are shown nothing, if the server says so. */
  readonly refusal: string
  /** Taken from some of the entries, most frequent first. */
  readonly domains: readonly { readonly domain: string; readonly count: number }[]
  readonly acceptedDomains: readonly AcceptedDomain[]
}

/** Large directories without an index take a long time. */
const PATIENCE = 20_000
const SAMPLE = 1000
const START_TLS = '1.3.6.1.4.1.1466.20037'
const ACTIVE_DIRECTORY = '1.2.840.113556.1.4.800'
const SIZE_LIMIT_EXCEEDED = 4

/** Attributes that hold addresses in some directory; the layouts in the documentation use them. */
const CANDIDATES = [
  ...['proxyAddresses', 'mail', 'mailAlternateAddress', 'mailLocalAddress', 'mailAlias', 'alias'],
  ...['mailPrimaryAddress', 'mailAlternativeAddress', 'gosaMailAlternateAddress'],
  ...['zimbraMailDeliveryAddress', 'zimbraMailAlias', 'shadowAddress', 'otherMailbox'],
]
/** Suffixes that a server keeps for itself. */
const OWN_CONTEXT =
  /^(cn=(config|schema|changelog|monitor|accesslog)\b|o=netscaperoot\b|dc=(domain|forest)dnszones\b)/i

/** The directory cannot be asked; the message says why. */
export class SurveyError extends Error {
  /** Whether the server can be reached but does not let this account in. */
  readonly isAboutAccount: boolean

  constructor({ message, failure, code }: DirectoryError) {
    super(message)
    this.isAboutAccount = failure === 'credentials' || code !== undefined
  }
}

const DNS_PATIENCE = 3000

/** Whether DNS names servers for the domain. Never rejects. */
export async function isAnnounced(
  domain: string,
  service: '_ldap._tcp' | '_gc._tcp',
): Promise<boolean> {
  try {
    return (await findServers(domain, DNS_PATIENCE, service)).length > 0
  } catch {
    return false
  }
}

/**
 * @param bases where to look; if empty, everything that the server has
 * @throws SurveyError if no server can be reached, or none lets us in
 */
export async function surveyDirectory(
  ldap: LdapSettings,
  bases: readonly string[],
): Promise<Survey> {
  try {
    return await surveyed(ldap, bases)
  } catch (error) {
    throw new SurveyError(directoryError(error))
  }
}

async function surveyed(ldap: LdapSettings, bases: readonly string[]): Promise<Survey> {
  const { endpoint, connection } = await openFirst(ldap)
  try {
    const root = await rootOf(connection)
    const values = (name: string) => valuesOf(root, name).map(String)
    const isActiveDirectory = values('supportedCapabilities').includes(ACTIVE_DIRECTORY)
    const found = bases.length > 0 ? bases : basesIn(values, isActiveDirectory)
    const { attributes, refusal } = await attributesIn(connection, found)
    const counting = isActiveDirectory ? withoutContacts(attributes) : attributes
    return {
      server: endpoint.name,
      kind: kindOf(root, isActiveDirectory),
      isActiveDirectory,
      starttls: endpoint.tls || ldap.starttls ? undefined : await startTls(values, endpoint, ldap),
      bases: found,
      attributes: counting,
      refusal,
      domains: counting.length > 0 ? await domainsOf(connection, found, counting) : [],
      acceptedDomains: await acceptedDomains(connection, values('configurationNamingContext')),
    }
  } finally {
    connection.close()
  }
}

async function openFirst(
  ldap: LdapSettings,
): Promise<{ endpoint: Endpoint; connection: Connection }> {
  let failure: unknown
  for (const endpoint of await endpointsOf(ldap)) {
    try {
      const connection = await openConnection(endpoint, ldap, new AbortController().signal)
      return { endpoint, connection }
    } catch (error) {
      failure ??= error
    }
  }
  throw failure ?? new DirectoryError('connection', 'DNS names no server')
}

async function rootOf(connection: Connection): Promise<Entry | undefined> {
  const attributes = attributeList(['*', '+'])
  const filter = present('objectClass')
  const search = searchRequest({ base: '', scope: SCOPE.base, filter, attributes })
  return (await connection.search(search, PATIENCE)).entries[0]
}

function kindOf(root: Entry | undefined, isActiveDirectory: boolean): string {
  const values = (name: string) => valuesOf(root, name).map(String)
  if (isActiveDirectory) return 'Active Directory'
  if (values('objectClass').includes('OpenLDAProotDSE')) return 'OpenLDAP'
  return [...values('vendorVersion'), ...values('vendorName')][0] ?? 'an LDAP server'
}

function basesIn(values: (name: string) => string[], isActiveDirectory: boolean): string[] {
  const standard = values('defaultNamingContext')
  if (isActiveDirectory && standard.length > 0) return standard
  return values('namingContexts').filter((dn) => dn !== '' && !OWN_CONTEXT.test(dn))
}

/** Exchange delivers by proxyAddresses; `mail` may hold addresses that the domain does not receive. */
function withoutContacts(attributes: readonly string[]): readonly string[] {
  return attributes.includes('proxyAddresses') ? ['proxyAddresses'] : attributes
}

async function attributesIn(connection: Connection, bases: readonly string[]) {
  const attributes: string[] = []
  let refusal = ''
  for (const name of CANDIDATES) {
    for (const base of bases) {
      const { entries, code, diagnostic } = await some(connection, base, [name], 1)
      if (entries.length > 0) attributes.push(name)
      if (code !== 0 && code !== SIZE_LIMIT_EXCEEDED) {
        refusal ||= resultError(code, diagnostic).message
      }
      if (entries.length > 0) break
    }
  }
  return { attributes, refusal }
}

function some(connection: Connection, base: string, names: readonly string[], most: number) {
  const filter = or(...names.map(present))
  const attributes = attributeList(names)
  const search = { base, scope: SCOPE.subtree, filter, attributes, sizeLimit: most }
  return connection.search(searchRequest(search), PATIENCE)
}

async function domainsOf(
  connection: Connection,
  bases: readonly string[],
  attributes: readonly string[],
): Promise<Survey['domains']> {
  const counts = new Map<string, number>()
  const names = lowerCaseNames(attributes)
  for (const base of bases) {
    const { entries } = await some(connection, base, attributes, SAMPLE)
    for (const address of entries.flatMap((entry) => addressesOf(entry, names))) {
      const domain = address.slice(address.lastIndexOf('@') + 1).toLowerCase()
      counts.set(domain, (counts.get(domain) ?? 0) + 1)
    }
  }
  return [...counts]
    .map(([domain, count]) => ({ domain, count }))
    .sort((one, other) => other.count - one.count)
}

async function startTls(
  values: (name: string) => string[],
  endpoint: Endpoint,
  ldap: LdapSettings,
): Promise<Survey['starttls']> {
  if (!values('supportedExtension').includes(START_TLS)) return undefined
  try {
    const tried = { ...ldap, starttls: true }
    const connection = await openConnection(endpoint, tried, new AbortController().signal)
    connection.close()
    return true
  } catch (error) {
    return { problem: directoryError(error).message }
  }
}

// ── Exchange ─────────────────────────────────────────────────────────────────────────────────────

/** The low bits of msExchAcceptedDomainFlags. */
const KINDS: readonly AcceptedDomain['kind'][] = [
  'authoritative',
  'external relay',
  'internal relay',
]

async function acceptedDomains(
  connection: Connection,
  [configuration]: readonly string[],
): Promise<readonly AcceptedDomain[]> {
  if (!configuration) return []
  const { entries } = await connection.search(
    searchRequest({
      base: configuration,
      scope: SCOPE.subtree,
      filter: equals('objectClass', 'msExchAcceptedDomain'),
      attributes: attributeList(['msExchAcceptedDomainName', 'msExchAcceptedDomainFlags']),
    }),
    PATIENCE,
  )
  return entries.flatMap((entry) => {
    const [name = ''] = valuesOf(entry, 'msExchAcceptedDomainName').map(String)
    const [flags = '0'] = valuesOf(entry, 'msExchAcceptedDomainFlags').map(String)
    const kind = KINDS[Number(flags) & 3]
    const sentTo = name.startsWith('*.') ? name.slice(2) : `@${name}`
    return kind && name && name !== '*' ? [{ sentTo: sentTo.toLowerCase(), kind }] : []
  })
}

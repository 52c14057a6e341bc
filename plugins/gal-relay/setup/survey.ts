// Explores an unknown directory: its kind, where its entries are, which attributes hold addresses, the domains
// of these, and what Exchange accepts. It only reads.
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
  /** As in `[routes]`: `example.com` with its subdomains, `@example.com` alone. */
  readonly sentTo: string
  readonly kind: 'authoritative' | 'internal relay' | 'external relay'
}

export interface Survey {
  /** Which of the servers was asked. */
  readonly server: string
  /** Its usual name. */
  readonly kind: string
  readonly isActiveDirectory: boolean
  /** StartTLS with a valid certificate, or why it is not used. */
  readonly starttls: true | { readonly problem: string } | undefined
  /** DNs below which the entries are. */
  readonly bases: readonly string[]
  /** The attributes that hold addresses, in order of precedence; empty if nothing is visible. */
  readonly attributes: readonly string[]
  /** Why nothing is visible, if the server says so. */
  readonly refusal: string
  /** The domains of a sample of addresses, most frequent first. */
  readonly domains: readonly { readonly domain: string; readonly count: number }[]
  readonly acceptedDomains: readonly AcceptedDomain[]
}

/** Large directories without an index take long. */
const PATIENCE = 20_000
const SAMPLE = 1000
const START_TLS = '1.3.6.1.4.1.1466.20037'
const ACTIVE_DIRECTORY = '1.2.840.113556.1.4.800'
const SIZE_LIMIT_EXCEEDED = 4

/** Attributes that hold addresses in some directory; the layouts in the documentation name them. */
const CANDIDATES = [
  ...['proxyAddresses', 'mail', 'mailAlternateAddress', 'mailLocalAddress', 'mailAlias', 'alias'],
  ...['mailPrimaryAddress', 'mailAlternativeAddress', 'gosaMailAlternateAddress'],
  ...['zimbraMailDeliveryAddress', 'zimbraMailAlias', 'shadowAddress', 'otherMailbox'],
]
/** Naming contexts that a server uses for itself. */
const OWN_CONTEXT =
  /^(cn=(config|schema|changelog|monitor|accesslog)\b|o=netscaperoot\b|dc=(domain|forest)dnszones\b)/i

/** The directory cannot be used; the message says why. */
export class SurveyError extends Error {
  /** It can be reached, but does not accept this account. */
  readonly isAboutAccount: boolean

  constructor({ message, failure, code }: DirectoryError) {
    super(message)
    this.isAboutAccount = failure === 'credentials' || code !== undefined
  }
}

const DNS_PATIENCE = 3000

/** DNS names servers of the domain. Never rejects. */
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
 * @param bases where to look; if empty, in all naming contexts of the server
 * @throws SurveyError if no server can be reached, or it does not accept the account
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

/** Exchange delivers by proxyAddresses; `mail` may hold what the domain does not receive. */
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

// Postfix: which mail it accepts, where it sends it, and who may relay, according to main.cf
// (postconf(5), ADDRESS_CLASS_README, SMTPD_ACCESS_README).
import { type Lookup, takeLookups } from './directory'
import {
  type Draft,
  differs,
  finish,
  type Imported,
  leaveOut,
  newDraft,
  type ReadFile,
  take,
  takeOpenRelay,
  takeRow,
} from './ini'
import { takeOrdered } from './networks'
import { listItems, type MainCf, readMainCf, tableOf } from './postfix-files'
import { lookupOf } from './postfix-ldap'
import { type Transports, takeTransports, transportsOf } from './postfix-transport'

/** @param read reads a file that main.cf names */
export function importPostfix(text: string, read: ReadFile, title: string): Imported {
  const draft = newDraft()
  const main = readMainCf(text)
  takeRelaying(draft, main, read)
  const lookups = takeMaps(draft, main, read)
  const transports = transportsOf(draft, main, read)
  const ours = takeDomains(draft, main, read, transports, lookups)
  takeTransports(draft, transports, ours)
  const delimiter = main.get('recipient_delimiter')
  if (delimiter) take(draft, 'recipient_delimiter', 'gal', 'recipient_delimiter', delimiter)
  if (main.get('relayhost')) {
    leaveOut(
      draft,
      'relayhost',
      `${main.get('relayhost')}: a smart host has no row; Haraka's relay plugin has one: force_routing = true, and any in relay_dest_domains.ini`,
    )
  }
  for (const name of new Set(main.unclear)) {
    leaveOut(
      draft,
      name,
      'contains an expression that is not understood, which counts as empty here',
    )
  }
  return finish(draft, title)
}

// ── Who may relay ───────────────────────────────────────────────────────────────────────────────

/** What a list permits before it rejects the rest; `undefined` if it never rejects it. */
interface Permitted {
  readonly networks: boolean
  readonly authenticated: boolean
}

const LISTS = ['smtpd_relay_restrictions', 'smtpd_recipient_restrictions'] as const

function takeRelaying(draft: Draft, main: MainCf, read: ReadFile): void {
  const permitted = LISTS.map((name) => permittedBy(draft, main, name)).filter(
    (one) => one !== undefined,
  )
  if (permitted.length === 0) {
    takeOpenRelay(draft, LISTS.join(' and '), 'neither has reject_unauth_destination')
  }
  const isPermitted = (what: keyof Permitted) => permitted.every((one) => one[what])
  const { found, missing } = listItems(main.list('mynetworks'), read)
  for (const item of missing)
    leaveOut(draft, 'mynetworks', `${item} cannot be read here: add its networks to hosts[]`)
  if (!isPermitted('networks')) {
    leaveOut(
      draft,
      'mynetworks',
      'permit_mynetworks is missing in the restrictions, so these clients may not relay',
    )
  } else if (main.isSet('mynetworks')) {
    takeOrdered(
      draft,
      'mynetworks',
      found.map((item) => item.replace(/[[\]]/g, '')),
    )
  } else {
    takeOrdered(draft, 'mynetworks', ['127.0.0.0/8', '::1/128'])
    differs(
      draft,
      'mynetworks',
      "is not set: Postfix takes its machine's own addresses; add them to hosts[] (postconf mynetworks)",
    )
  }
  const isOffered = /^yes$/i.test(main.get('smtpd_sasl_auth_enable'))
  if (isOffered && isPermitted('authenticated')) {
    take(draft, 'smtpd_sasl_auth_enable', 'restrictions', 'authenticated', 'true')
  } else if (isPermitted('authenticated')) {
    leaveOut(
      draft,
      'permit_sasl_authenticated',
      'smtpd_sasl_auth_enable = no; if master.cf has it on for submission, add [listener *:587] with authenticated = true',
    )
  }
}

function permittedBy(draft: Draft, main: MainCf, name: string): Permitted | undefined {
  const found = { networks: false, authenticated: false }
  for (const item of main.list(name)) {
    switch (item) {
      case 'permit_mynetworks':
        found.networks = true
        break
      case 'permit_sasl_authenticated':
        found.authenticated = true
        break
      case 'permit':
        return undefined
      case 'defer_unauth_destination':
        differs(
          draft,
          name,
          'defer_unauth_destination answers 454; here relaying is refused with 550',
        )
        return found
      case 'reject_unauth_destination':
      case 'reject':
      case 'defer':
        return found
      case 'permit_tls_clientcerts':
      case 'permit_tls_all_clientcerts':
      case 'permit_mx_backup':
        leaveOut(draft, name, `${item}: who may relay is decided by addresses and accounts`)
        break
      default:
        if (/^check_/.test(item)) {
          leaveOut(
            draft,
            name,
            `${item}: whoever its table says OK to could relay; add those to hosts[], and use Haraka's plugins for the rest`,
          )
        } else if (/^(reject|warn|defer)_/.test(item)) {
          leaveOut(draft, name, `${item}: does not concern relaying; Haraka has plugins for it`)
        } else if (/^\w+$/.test(item)) {
          leaveOut(draft, name, `${item}: has no equal; whom it lets relay is not taken`)
        }
    }
  }
  return undefined
}

// ── Directories ─────────────────────────────────────────────────────────────────────────────────

const MAPS = [
  'relay_recipient_maps',
  'virtual_mailbox_maps',
  'local_recipient_maps',
  'virtual_alias_maps',
] as const
type MapName = (typeof MAPS)[number]

/** By parameter: who has its recipients: the directory, another kind of table, or nobody. */
type Lookups = Readonly<Record<MapName, 'directory' | 'elsewhere' | 'nobody'>>

function takeMaps(draft: Draft, main: MainCf, read: ReadFile): Lookups {
  const found: { readonly name: MapName; readonly lookup: Lookup }[] = []
  const files = new Set<string>()
  for (const name of MAPS) {
    for (const item of main.list(name)) {
      const table = tableOf(item)
      if (table?.type !== 'ldap') {
        if (main.isSet(name))
          leaveOut(
            draft,
            name,
            `${item} is not a directory; addresses that only it has would be refused`,
          )
        continue
      }
      if (name === 'virtual_alias_maps') {
        differs(
          draft,
          name,
          `${item}: its addresses are accepted unchanged: where the directory sends their mail is not followed`,
        )
      }
      const lookup = lookupOf(draft, table, name, main, read)
      if (lookup) found.push({ name, lookup })
      files.add(table.name)
    }
  }
  const taken = takeLookups(
    draft,
    found.map(({ lookup }) => lookup),
  )
  const of = (name: MapName) => {
    if (found.some((one) => one.name === name && taken.includes(one.lookup))) return 'directory'
    return main.list(name).length > 0 ? 'elsewhere' : 'nobody'
  }
  return {
    relay_recipient_maps: of('relay_recipient_maps'),
    virtual_mailbox_maps: of('virtual_mailbox_maps'),
    local_recipient_maps: of('local_recipient_maps'),
    virtual_alias_maps: of('virtual_alias_maps'),
  }
}

// ── Domains ─────────────────────────────────────────────────────────────────────────────────────

const CLASSES: readonly { readonly domains: string; readonly maps: MapName }[] = [
  { domains: 'mydestination', maps: 'local_recipient_maps' },
  { domains: 'virtual_mailbox_domains', maps: 'virtual_mailbox_maps' },
  { domains: 'virtual_alias_domains', maps: 'virtual_alias_maps' },
  { domains: 'relay_domains', maps: 'relay_recipient_maps' },
]

/** @returns the left-hand sides of the rows that were made */
function takeDomains(
  draft: Draft,
  main: MainCf,
  read: ReadFile,
  transports: Transports,
  lookups: Lookups,
): ReadonlySet<string> {
  const ours = new Set<string>()
  const isParent = main.list('parent_domain_matches_subdomains').includes('relay_domains')
  for (const { domains, maps } of CLASSES) {
    for (const domain of domainsOf(draft, main, read, domains)) {
      const withSubdomains = domains === 'relay_domains' && (isParent || domain.startsWith('.'))
      const name = domain.replace(/^\./, '')
      if (domain.startsWith('.')) {
        differs(
          draft,
          domains,
          `${domain} means the subdomains of ${name}; the row is for ${name} itself too`,
        )
      }
      const kind = kindOf(draft, domains, name, lookups[maps])
      for (const { sentTo, hop } of sentTos(transports, name, withSubdomains)) {
        takeRow(draft, domains, sentTo, hop ? `${kind} ${hop}` : kind)
        ours.add(sentTo)
        if (!hop && domains === 'relay_domains' && kind === 'inbound') {
          differs(
            draft,
            domains,
            `${sentTo} went to the domain's MX hosts; here the queue plugins deliver it, or a host that the row names: inbound smtp://host`,
          )
        }
      }
    }
  }
  return ours
}

function domainsOf(draft: Draft, main: MainCf, read: ReadFile, name: string): readonly string[] {
  const { found, missing } = listItems(main.list(name), read)
  // By default it names the alias tables, in which Postfix finds the domains.
  const isDefault = name === 'virtual_alias_domains' && !main.isSet(name)
  if (!isDefault)
    for (const item of missing)
      leaveOut(draft, name, `${item} cannot be read here: add its domains to [routes]`)
  const domains = found
    .filter((item) => !item.startsWith('!') && !item.includes('@'))
    .map((item) => item.toLowerCase())
  for (const item of found.filter((one) => one.startsWith('!'))) {
    leaveOut(draft, name, `${item}: rows take domains in, not out`)
  }
  return main.get('myhostname')
    ? domains
    : domains.filter((one) => !/^(localhost\.localdomain)?$/.test(one))
}

function kindOf(
  draft: Draft,
  from: string,
  domain: string,
  asked: Lookups[MapName],
): 'inbound' | 'always-relay' {
  if (asked === 'directory') return 'inbound'
  if (asked === 'nobody' && from === 'relay_domains') return 'always-relay'
  const was =
    asked === 'nobody' ? 'every recipient was accepted' : 'recipients were looked up elsewhere'
  differs(draft, from, `${domain}: ${was}; here those in the directory are accepted`)
  return 'inbound'
}

/** Different transports for the domain itself and for its subdomains need two rows. */
function sentTos(transports: Transports, domain: string, withSubdomains: boolean) {
  const own = transports.hopFor(domain)
  if (!withSubdomains) return [{ sentTo: `@${domain}`, hop: own }]
  const below = transports.hopFor(`.${domain}`)
  if (own === below) return [{ sentTo: domain, hop: own }]
  return [
    { sentTo: `@${domain}`, hop: own },
    { sentTo: domain, hop: below },
  ]
}

// Writes the first gal_relay.ini of an install: what was found out, and where, as settings with a
// comment for each choice. With it, the plugin only observes: no answer changes.
import type { Survey } from './survey'

export interface FirstSettings {
  /** `[ldap] url[]`, and how it was found. */
  readonly urls: readonly string[]
  readonly urlsFrom: string
  readonly survey: Survey
  readonly bases: readonly string[]
  readonly basesFrom: string
  readonly bindDn: string
  readonly bindPasswordFile: string
  /** A plain-text password from the settings of another plugin. */
  readonly bindPassword: string
  readonly tlsCa: string
  /** The attributes that hold addresses, from other settings or from the directory. */
  readonly attributes: readonly string[]
  readonly attributesFrom: string
  readonly filter: string
  /** Inbound domains of config/host_list. */
  readonly hosts: readonly string[]
  /** Rows from other plugins, each as `sent to` and `route to`. */
  readonly rows: readonly (readonly [sentTo: string, routeTo: string])[]
  /** Further inbound domains, and how they were found. */
  readonly domains: readonly string[]
  readonly domainsFrom: string
  /** `hosts[]` and `never[]` from other plugins. */
  readonly restrictions: readonly (readonly [key: string, value: string])[]
}

/** @returns the text of gal_relay.ini */
export function firstSettingsText(found: FirstSettings): string {
  return [
    '; written by gal-relay init; gal-relay check says what is wrong with it',
    ...mainSection(),
    ...routesSection(found),
    ...restrictionsSection(found),
    ...galSection(found),
    ...ldapSection(found),
    '',
  ].join('\n')
}

function mainSection(): string[] {
  return [
    '[main]',
    '; it only observes: the log has what it would answer. Take the line out when you have read that',
    'enforce = false',
  ]
}

function routesSection({ hosts, rows, domains, domainsFrom, survey }: FirstSettings): string[] {
  const lines: string[] = []
  const taken = new Set<string>()
  const add = (sentTo: string, routeTo: string) => {
    if (taken.has(sentTo)) return
    taken.add(sentTo)
    lines.push(`${sentTo} = ${routeTo}`)
  }
  if (hosts.length > 0)
    lines.push(`; inbound by config/host_list, without a row: ${hosts.join(', ')}`)
  if (rows.length > 0) lines.push('; from the settings of other plugins')
  for (const [sentTo, routeTo] of rows) add(sentTo, routeTo)
  if (survey.acceptedDomains.length > 0) lines.push('; the accepted domains of Exchange')
  for (const { sentTo, kind } of survey.acceptedDomains) {
    const isListed = hosts.includes(sentTo.replace(/^@/, ''))
    if (kind === 'authoritative') {
      if (!isListed) add(sentTo, 'inbound')
    } else if (kind === 'external relay') add(sentTo, 'always-relay')
    else {
      lines.push(
        `; ${sentTo.replace(/^@/, '')} is shared with another mail system (internal relay); name its host:`,
        `;${sentTo} = shared smtp://host`,
      )
    }
  }
  if (domains.length > 0) lines.push(`; ${domainsFrom}`)
  for (const domain of domains) add(`@${domain}`, 'inbound')
  return ['[routes]', ...lines]
}

function restrictionsSection({ restrictions }: FirstSettings): string[] {
  if (restrictions.length > 0) {
    const lines = restrictions.map(([key, value]) => `${key}[] = ${value}`)
    return ['[restrictions]', '; from relay_acl_allow', ...lines]
  }
  return [
    '[restrictions]',
    '; nobody may relay; the networks that may send to the world through this Haraka:',
    ';hosts[] = 192.168.1.0/24',
  ]
}

function galSection({ attributes, attributesFrom, filter }: FirstSettings): string[] {
  return [
    '[gal]',
    `; ${attributesFrom}`,
    ...attributes.map((name) => `attributes[] = ${name}`),
    ...(filter ? [`filter = ${filter}`] : []),
  ]
}

function ldapSection(found: FirstSettings): string[] {
  const { urls, urlsFrom, survey, bases, basesFrom, bindDn, tlsCa } = found
  return [
    '[ldap]',
    `; ${survey.kind}, ${urlsFrom}`,
    ...urls.map((url) => `url[] = ${url}`),
    `; ${basesFrom}`,
    ...(bases.length === 1 ? [`base = ${bases[0]}`] : bases.map((base) => `base[] = ${base}`)),
    ...(bindDn
      ? accountLines(found)
      : ['; it shows its addresses to everybody: no account is needed']),
    ...(tlsCa ? [`tls_ca = ${tlsCa}`] : []),
    ...starttlsLines(survey),
  ]
}

function accountLines({ bindDn, bindPasswordFile, bindPassword }: FirstSettings): string[] {
  return [
    `bind_dn = ${bindDn}`,
    ...(bindPasswordFile
      ? [`bind_password_file = ${bindPasswordFile}`]
      : bindPassword
        ? ['; better in a file of its own: bind_password_file', `bind_password = ${bindPassword}`]
        : []),
  ]
}

function starttlsLines({ starttls }: Survey): string[] {
  if (!starttls) return []
  if (starttls === true)
    return ['; the server offers it, with a valid certificate', 'starttls = true']
  return [`; the server offers it, but: ${oneLine(starttls.problem)}`, ';starttls = true']
}

const oneLine = (text: string) => text.replace(/\p{C}+/gu, ' ')

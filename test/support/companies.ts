// Many companies, each with its own directory: a unit of one slapd.
import { type Slapd, type SlapdEntry, startSlapd, unitEntry } from './slapd'

export const companyDomain = (company: number) => `company${company}.example`
export const companyUser = (company: number, user: number) =>
  `user${user}@${companyDomain(company)}`
const unitOf = (company: number, base: string) => `ou=company${company},${base}`

export interface CompaniesOptions {
  readonly companies: number
  /** The number of recipients of each. */
  readonly recipients: number
}

export function startCompanies({ companies, recipients }: CompaniesOptions): Promise<Slapd> {
  return startSlapd({ entries: entriesOf(companies, recipients) })
}

function* entriesOf(companies: number, recipients: number): Generator<SlapdEntry> {
  for (let company = 0; company < companies; company++) {
    const dn = unitOf(company, 'dc=corp,dc=test')
    yield unitEntry(dn)
    for (let user = 0; user < recipients; user++) {
      const mail = companyUser(company, user)
      yield { dn: `uid=u${user},${dn}`, mail, proxyAddresses: `SMTP:${mail}` }
    }
  }
}

export interface CompaniesIni {
  readonly slapd: Pick<Slapd, 'url' | 'base' | 'bindDn' | 'password'>
  readonly companies: number
  /** The companies are divided among them. If there are fewer of them than companies, each has the whole tree as its base. */
  readonly directories: number
  /** The URL of the first directory, if it is a different one. */
  readonly first?: string
  /** Lines of `[gal]` and of more sections. */
  readonly gal?: readonly string[]
}

/** `gal_relay.ini` without a default directory. */
export function companiesIni(options: CompaniesIni): string {
  const { slapd, companies, directories, first, gal = [] } = options
  const all = Array.from({ length: companies }, (_, company) => company)
  const sections = Array.from({ length: directories }, (_, directory) => [
    `[directory d${directory}]`,
    ...all
      .filter((company) => company % directories === directory)
      .map((company) => `domains[] = ${companyDomain(company)}`),
    `url[] = ${directory === 0 && first ? first : slapd.url}`,
    `base = ${directories === companies ? unitOf(directory, slapd.base) : slapd.base}`,
    `bind_dn = ${slapd.bindDn}`,
    `bind_password = ${slapd.password}`,
  ])
  return [
    '[routes]',
    ...all.map((company) => `${companyDomain(company)} = inbound`),
    '[gal]',
    ...gal,
    ...sections.flat(),
    '',
  ].join('\n')
}

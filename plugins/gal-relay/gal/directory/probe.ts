// Looks a directory server over, for people: is it there, does it let us in, and has it what look-ups
// and a snapshot need? Nothing is changed, and nothing is kept. It opens connections and searches as
// the look-ups do; what it adds is asking the server about itself.
import { resolveSrv } from 'node:dns/promises'
import type { GalSettings, LdapSettings, ServerUrl } from '../../settings/settings'
import { AddressSearch } from './address-search'
import { enumerated, integer, octets, TAG, tlv } from './ber'
import type { Connection, Result } from './connection'
import type { Control } from './controls'
import { type DirectoryError, directoryError, printable, resultError } from './directory-error'
import type { Entry } from './entry'
import { addressesOf, baseName } from './entry-addresses'
import { equals, present } from './filter'
import { type Endpoint, openConnection } from './open'
import { attributeList, SCOPE, type Search, searchRequest } from './search-request'

export interface Finding {
  readonly level: 'ok' | 'note' | 'warning' | 'problem'
  readonly text: string
}

export interface ServerFindings {
  /** As in `[ldap] url[]`; for `srv://` each server that DNS names. */
  readonly server: string
  readonly findings: readonly Finding[]
}

/** Of an address search on a server that has an index for it. */
const QUICK = 250
/** Schemas are large. */
const PATIENCE = 15_000

const PAGED_RESULTS = '1.2.840.113556.1.4.319'
const SYNC_REQUEST = '1.3.6.1.4.1.4203.1.9.1.1'
const DIR_SYNC = '1.2.840.113556.1.4.841'
const GLOBAL_CATALOG_PORTS = new Set([3268, 3269])

/** Never rejects; all servers at once, in the order of `url[]`. */
export async function probeDirectory(
  gal: GalSettings,
  ldap: LdapSettings,
): Promise<readonly ServerFindings[]> {
  const probes = await Promise.all(ldap.url.map((url) => probeUrl(url, gal, ldap)))
  return probes.flat()
}

async function probeUrl(
  url: ServerUrl,
  gal: GalSettings,
  ldap: LdapSettings,
): Promise<readonly ServerFindings[]> {
  const { scheme, host, port, text } = url
  if (scheme !== 'srv') {
    return [await probeServer({ tls: scheme === 'ldaps', host, port, name: text }, gal, ldap)]
  }
  const name = `_ldap._tcp.${host}`
  try {
    const records = await resolveSrv(name)
    if (records.length === 0) throw new Error('no records')
    return await Promise.all(
      records.map((record) => {
        const server = `ldap://${record.name}:${record.port}`
        const endpoint = { tls: false, host: record.name, port: record.port, name: server }
        return probeServer(endpoint, gal, ldap)
      }),
    )
  } catch (error) {
    const { message } = directoryError(error)
    return [{ server: text, findings: [problem(`DNS has no servers for ${name}: ${message}`)] }]
  }
}

async function probeServer(
  endpoint: Endpoint,
  gal: GalSettings,
  ldap: LdapSettings,
): Promise<ServerFindings> {
  const findings: Finding[] = []
  let connection: Connection | undefined
  try {
    const start = performance.now()
    connection = await openConnection(endpoint, ldap, new AbortController().signal)
    findings.push(ok(connectedText(endpoint, ldap, performance.now() - start)))
    const probe = new Probe(connection, endpoint, gal, ldap)
    for await (const finding of probe.findings()) findings.push(finding)
  } catch (thrown) {
    const error = directoryError(thrown)
    findings.push(problem(`${error.message}${hint(error, ldap)}`))
  } finally {
    connection?.close()
  }
  return { server: endpoint.name, findings }
}

function connectedText(endpoint: Endpoint, ldap: LdapSettings, milliseconds: number): string {
  const how = endpoint.tls ? ' with TLS' : ldap.starttls ? ' with StartTLS' : ' without TLS'
  const who = ldap.bind_dn ? `as ${ldap.bind_dn}` : 'anonymously'
  return `connected${how} and bound ${who} in ${Math.round(milliseconds)} ms`
}

/** What to do about an error at connecting, TLS or bind. */
function hint({ failure, code, message }: DirectoryError, ldap: LdapSettings): string {
  if (code === 49) return '; are bind_dn and bind_password right?'
  if (code === 8 || code === 13) return '; it wants TLS: ldaps:// or starttls = true'
  if (code !== undefined && !ldap.bind_dn) return '; does it take anonymous clients? Set bind_dn'
  if (failure === 'timeout') return '; is it the right port, and does a firewall let us through?'
  if (/altname|does not match/i.test(message))
    return '; url[] must have the name in the certificate'
  if (/self.signed|unable to (get|verify)/i.test(message)) {
    return "; set tls_ca to the file with its authority's certificate"
  }
  if (message.includes('ECONNREFUSED')) return '; nothing listens there'
  if (/ENOTFOUND|EAI_AGAIN/.test(message)) return '; the name is not in DNS'
  return ''
}

/** One server that let us in. */
class Probe {
  readonly #attributes: ReadonlySet<string>
  #root: Entry | undefined

  constructor(
    private readonly connection: Connection,
    private readonly endpoint: Endpoint,
    private readonly gal: GalSettings,
    private readonly ldap: LdapSettings,
  ) {
    this.#attributes = new Set(gal.attributes.map((name) => name.toLowerCase()))
  }

  async *findings(): AsyncGenerator<Finding> {
    const wanted = [
      ...['namingContexts', 'defaultNamingContext', 'schemaNamingContext'],
      ...['subschemaSubentry', 'supportedControl'],
    ]
    this.#root = (await this.#read('', wanted)).entries[0]
    if (!this.#root) yield warning('it says nothing about itself: its root entry is not readable')
    const bases = await Promise.all(this.ldap.base.map((base) => this.#base(base)))
    yield* bases.flat()
    yield* this.#schema()
    yield this.#paging()
    if (bases.flat().some(({ level }) => level === 'problem')) return
    yield* this.#entries()
    yield* this.#indexes()
    yield await this.#feed()
  }

  async #base(base: string): Promise<Finding[]> {
    // The empty base of a Global Catalog has no entry of its own.
    if (base === '') return []
    const result = await this.#read(base, ['1.1'])
    if (result.code === 0 && result.entries.length > 0) return [ok(`base ${base} is readable`)]
    const why = result.code === 0 ? 'is not readable for us' : reason(result)
    const contexts = printable(this.#rootValues('namingContexts').join(', '))
    return [problem(`base ${base}: ${why}${contexts && `; the server has ${contexts}`}`)]
  }

  async *#entries(): AsyncGenerator<Finding> {
    const results = await this.#all(new AddressSearch(this.gal, this.ldap).forAnyone())
    const failed = results.find(({ code }) => code !== 0 && code !== SIZE_LIMIT_EXCEEDED)
    const entries = results.flatMap((result) => result.entries)
    const attributes = this.gal.attributes.join(', ')
    if (failed) yield problem(`a search for entries with an address: ${reason(failed)}`)
    else if (entries.length === 0) {
      yield problem(
        `no entry has an address in ${attributes}: are base, filter and the rights right?`,
      )
    } else if (entries.every((entry) => addressesOf(entry, this.#attributes).length === 0)) {
      yield problem(`${attributes} of the entries cannot be read: has the account the rights?`)
    } else yield ok(`entries with an address in ${attributes} are there and readable`)
  }

  async *#schema(): AsyncGenerator<Finding> {
    const [subschema] = this.#rootValues('subschemaSubentry')
    const { entries } = subschema
      ? await this.#find({
          base: subschema,
          scope: SCOPE.base,
          filter: equals('objectClass', 'subschema'),
          attributes: attributeList(['attributeTypes']),
        })
      : { entries: [] }
    const definitions = entries.flatMap((entry) => valuesOf(entry, 'attributeTypes'))
    if (definitions.length === 0) {
      yield note('its schema is not readable, so it cannot be told whether it knows the attributes')
      return
    }
    const known = definitionsByName(definitions)
    const tellsRules = definitions.some((definition) => definition.includes(' EQUALITY '))
    const unknown = this.gal.attributes.filter((name) => !known.has(name.toLowerCase()))
    for (const name of unknown) {
      const text = `its schema has no attribute ${name}, so that nothing is found by it`
      yield unknown.length === this.gal.attributes.length ? problem(text) : note(text)
    }
    for (const name of this.gal.attributes) {
      const definition = known.get(name.toLowerCase())
      if (tellsRules && definition && !/ (EQUALITY|SUP) /.test(definition)) {
        yield warning(`${name} has no equality rule in its schema, so that nothing is found by it`)
      }
    }
    const flag = this.gal.authenticated_only_attribute
    if (flag && !known.has(flag.toLowerCase())) {
      yield note(`its schema has no ${flag}: no recipient is for authenticated senders only`)
    }
  }

  async *#indexes(): AsyncGenerator<Finding> {
    const start = performance.now()
    await this.#all(new AddressSearch(this.gal, this.ldap).forNobody())
    const took = performance.now() - start
    const time = `a search for an address takes ${took.toFixed(1)} ms`
    const indexed = (await this.#activeDirectoryIndexes()) ?? (await this.#openLdapIndexes())
    if (!indexed) {
      yield took > QUICK
        ? warning(`${time}: are ${this.gal.attributes.join(', ')} indexed?`)
        : note(`${time}; which attributes are indexed cannot be read`)
      return
    }
    const problems = this.gal.attributes.flatMap((name) => indexed.get(name.toLowerCase()) || [])
    for (const text of problems) yield warning(text)
    yield problems.length === 0 ? ok(`the attributes are indexed; ${time}`) : note(time)
  }

  /** MS-ADTS §2.2.9: the lowest bit of searchFlags. */
  async #activeDirectoryIndexes(): Promise<Indexes | undefined> {
    const [base] = this.#rootValues('schemaNamingContext')
    if (!base) return undefined
    const indexes: Indexes = new Map()
    for (const name of this.gal.attributes) {
      const { entries } = await this.#find({
        base,
        scope: SCOPE.subtree,
        filter: equals('lDAPDisplayName', name),
        attributes: attributeList(['searchFlags', 'isMemberOfPartialAttributeSet']),
      })
      const [entry] = entries
      if (!entry) continue
      const isIndexed = (Number(valuesOf(entry, 'searchFlags')[0] ?? 0) & 1) === 1
      const inCatalog = valuesOf(entry, 'isMemberOfPartialAttributeSet')[0] === 'TRUE'
      const isMissing = GLOBAL_CATALOG_PORTS.has(this.endpoint.port) && !inCatalog
      const text = isMissing ? `${name} is not marked for the Global Catalog` : ''
      indexes.set(name.toLowerCase(), isIndexed ? text : notIndexed(name))
    }
    return indexes.size > 0 ? indexes : undefined
  }

  async #openLdapIndexes(): Promise<Indexes | undefined> {
    const { entries } = await this.#find({
      base: 'cn=config',
      scope: SCOPE.subtree,
      filter: present('olcDbIndex'),
      attributes: attributeList(['olcDbIndex']),
    })
    if (entries.length === 0) return undefined
    const indexed = new Set(
      entries
        .flatMap((entry) => valuesOf(entry, 'olcDbIndex'))
        .filter((line) => /\beq\b/.test(line))
        .flatMap((line) => (line.split(' ')[0] ?? '').toLowerCase().split(',')),
    )
    return new Map(
      [...this.#attributes].map((name) => [name, indexed.has(name) ? '' : notIndexed(name)]),
    )
  }

  #paging(): Finding {
    if (this.#rootValues('supportedControl').includes(PAGED_RESULTS)) {
      return ok('it gives long results in pages')
    }
    return this.#forSnapshot('it does not give long results in pages')
  }

  async #feed(): Promise<Finding> {
    const controls = this.#rootValues('supportedControl')
    const base = this.#context(this.ldap.base[0] ?? '')
    if (controls.includes(SYNC_REQUEST)) {
      // RFC 4533 §2.2: refreshOnly, no cookie
      const value = tlv(TAG.sequence, enumerated(1))
      const result = await this.#controlled(
        this.ldap.base[0] ?? '',
        SCOPE.base,
        SYNC_REQUEST,
        value,
      )
      return result.code === 0
        ? ok('it tells of changes: content synchronization (RFC 4533)')
        : this.#forSnapshot(`it does not tell of changes: ${reason(result)}; overlay syncprov?`)
    }
    if (controls.includes(DIR_SYNC) && base) {
      // MS-ADTS §3.1.1.3.4.1.3: what we may read, whatever the size, from the beginning
      const value = tlv(TAG.sequence, integer(1), integer(0), octets(''))
      const result = await this.#controlled(base, SCOPE.subtree, DIR_SYNC, value)
      return result.code === 0
        ? ok('it tells of changes: DirSync')
        : this.#forSnapshot(`it does not tell us of changes: ${reason(result)}`)
    }
    return this.#forSnapshot('it does not tell of changes')
  }

  /** A warning where a snapshot wants it. */
  #forSnapshot(text: string): Finding {
    const isWanted = (this.gal.mode as string) === 'snapshot'
    return isWanted ? warning(text) : note(`${text}; only a snapshot needs that`)
  }

  /** The naming context that the base is in; DirSync takes no other base. */
  #context(base: string): string | undefined {
    const folded = base.toLowerCase().replace(/\s*,\s*/g, ',')
    const contexts = this.#rootValues('namingContexts')
    return base
      ? contexts.find((context) => `,${folded}`.endsWith(`,${context.toLowerCase()}`))
      : this.#rootValues('defaultNamingContext')[0]
  }

  async #controlled(base: string, scope: 0 | 2, oid: string, value: Buffer): Promise<Ended> {
    const control: Control = { oid, critical: true, value }
    const search = searchRequest({
      base,
      scope,
      filter: equals('cn', 'gal-relay-check.invalid'),
      attributes: attributeList(['1.1']),
    })
    const options = { controls: [control], patience: PATIENCE }
    return await this.connection.stream(search, { entry: () => {} }, options).result
  }

  #rootValues(attribute: string): string[] {
    return this.#root ? valuesOf(this.#root, attribute) : []
  }

  #read(dn: string, attributes: readonly string[]): Promise<Result> {
    return this.#find({
      base: dn,
      scope: SCOPE.base,
      filter: present('objectClass'),
      attributes: attributeList(attributes),
    })
  }

  #find(search: Search): Promise<Result> {
    return this.connection.search(searchRequest(search), PATIENCE)
  }

  #all(searches: readonly Buffer[]): Promise<Result[]> {
    return Promise.all(searches.map((search) => this.connection.search(search, PATIENCE)))
  }
}

/** What is wrong with the index of an attribute, its name in lower case; '' when it is well. */
type Indexes = Map<string, string>
type Ended = Pick<Result, 'code' | 'diagnostic'>

const SIZE_LIMIT_EXCEEDED = 4

const ok = (text: string): Finding => ({ level: 'ok', text })
const note = (text: string): Finding => ({ level: 'note', text })
const warning = (text: string): Finding => ({ level: 'warning', text })
const problem = (text: string): Finding => ({ level: 'problem', text })

const notIndexed = (name: string) => `${name} is not indexed: searches read the whole directory`

const reason = ({ code, diagnostic }: Ended) => resultError(code, diagnostic).message

function valuesOf(entry: Entry, attribute: string): string[] {
  const name = attribute.toLowerCase()
  return entry.attributes
    .filter(({ type }) => baseName(type) === name)
    .flatMap(({ values }) => values.map((value) => value.toString('utf8')))
}

/** Attribute type descriptions (RFC 4512 §4.1.2) by each of their names in lower case. */
function definitionsByName(definitions: readonly string[]): ReadonlyMap<string, string> {
  const byName = new Map<string, string>()
  for (const definition of definitions) {
    const [, one, several] = / NAME (?:'([^']+)'|\(([^)]*)\))/.exec(definition) ?? []
    const names = one ? [one] : Array.from(several?.matchAll(/'([^']+)'/g) ?? [], ([, n]) => n)
    for (const name of names) if (name) byName.set(name.toLowerCase(), definition)
  }
  return byName
}

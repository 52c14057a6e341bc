// Examines a directory server and reports to people: can it be reached, does it let us in, and does it
// have what look-ups and a snapshot need? It changes nothing and stores nothing. It connects and searches
// as the look-ups do, and also asks the server about itself.

import { GLOBAL_CATALOG_PORTS } from '../../ldap/active-directory'
import type { Connection } from '../../ldap/connection'
import {
  ADMIN_LIMIT_EXCEEDED,
  directoryError,
  NO_SUCH_OBJECT,
  printable,
  resultError,
  SIZE_LIMIT_EXCEEDED,
} from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { equals, present } from '../../ldap/filter'
import { openConnection } from '../../ldap/open'
import type { Endpoint } from '../../ldap/options'
import { PAGED_RESULTS } from '../../ldap/paged-search'
import { type RootDse, readRootDse, valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, type Search, searchRequest } from '../../ldap/search-request'
import type { Result } from '../../ldap/search-result'
import { findServers } from '../../ldap/srv'
import { isSocketPath } from '../../ldap/tcp'
import type { GalSettings, LdapSettings, ServerUrl } from '../../settings/settings'
import { FEEDS } from '../feeds/table'
import { AddressSearch, SIZE_LIMIT } from './address-search'
import { aliasObjects } from './alias-objects'
import { type Finding, note, ok, problem, warning } from './finding'
import { hiddenContainers } from './hidden-containers'
import { hint, limitHint, limitsToRaise } from './hint'
import { type ListDefinition, listDefinition } from './list-definition'
import { otherAttributes } from './other-attributes'
import { byPart, referredText, whyNotFollowed } from './references'
import { lackedHere } from './replicas'
import { readSearchable, type Searchable } from './searchable'

export interface ServerFindings {
  /** As in `[ldap] url[]`; for `srv://` each server that DNS names. */
  readonly server: string
  readonly findings: readonly Finding[]
}

/** The most milliseconds that an address search should take on a server with an index. */
const QUICK = 250
/** Milliseconds for each request; schemas are large. */
const PATIENCE = 15_000

/** Results (RFC 4511 §A.1) by which a server that let us in refuses to be searched. */
const REFUSED: ReadonlySet<number> = new Set([8, 13, 50, 53])

const DEFERRED = 'unknown recipients are deferred'
const ANY_ENTRY = {
  scope: SCOPE.subtree,
  filter: present('objectClass'),
  attributes: attributeList(['1.1']),
  sizeLimit: 2,
}

/** Never rejects; all servers at once, in the order of `url[]`. */
export async function probeDirectory(
  gal: GalSettings,
  ldap: LdapSettings,
): Promise<readonly ServerFindings[]> {
  const probes = (await Promise.all(ldap.url.map((url) => probeUrl(url, gal, ldap)))).flat()
  return probes.map(({ server, findings, searchable }) => {
    const replicas = probes.map((one) => ({ name: one.server, searchable: one.searchable }))
    const text = searchable && lackedHere({ name: server, searchable }, replicas)
    const missing = text === undefined ? [] : [problem(`${text}; ${DEFERRED}`)]
    return { server, findings: [...findings, ...missing] }
  })
}

/** A server that was looked over. */
interface Probed extends ServerFindings {
  readonly searchable?: Searchable | undefined
}

async function probeUrl(
  url: ServerUrl,
  gal: GalSettings,
  ldap: LdapSettings,
): Promise<readonly Probed[]> {
  const { scheme, host, port, text } = url
  if (scheme !== 'srv') {
    return [await probeServer({ tls: scheme === 'ldaps', host, port, name: text }, gal, ldap)]
  }
  try {
    const endpoints = await findServers(host, ldap.connect_timeout)
    if (endpoints.length === 0) throw new Error('no servers')
    return await Promise.all(endpoints.map((endpoint) => probeServer(endpoint, gal, ldap)))
  } catch (error) {
    const { message } = directoryError(error)
    const server = problem(`DNS has no servers for _ldap._tcp.${host}: ${message}`)
    return [{ server: text, findings: [server] }]
  }
}

async function probeServer(
  endpoint: Endpoint,
  gal: GalSettings,
  ldap: LdapSettings,
): Promise<Probed> {
  const findings: Finding[] = []
  let connection: Connection | undefined
  let searchable: Searchable | undefined
  try {
    const start = performance.now()
    connection = await openConnection(endpoint, ldap, new AbortController().signal)
    findings.push(ok(connectedText(endpoint, ldap, performance.now() - start)))
    const rootDse = await readRootDse(connection, PATIENCE)
    const probe = new Probe(connection, endpoint, rootDse, gal, ldap)
    for await (const finding of probe.findings()) findings.push(finding)
    searchable = probe.searchable
  } catch (thrown) {
    const error = directoryError(thrown)
    findings.push(problem(`${error.message}${hint(error, ldap)}`))
  } finally {
    connection?.close()
  }
  return { server: endpoint.name, findings, searchable }
}

function connectedText(endpoint: Endpoint, ldap: LdapSettings, milliseconds: number): string {
  const isLocal = isSocketPath(endpoint.host)
  const inClear = isLocal ? ' by its socket' : ' without TLS'
  const how = endpoint.tls ? ' with TLS' : ldap.starttls && !isLocal ? ' with StartTLS' : inClear
  const isExternal = ldap.bind_method === 'external'
  const who = isExternal ? 'by SASL EXTERNAL' : ldap.bind_dn ? `as ${ldap.bind_dn}` : 'anonymously'
  return `connected${how} and bound ${who} in ${Math.round(milliseconds)} ms`
}

/** One server that let us in. */
class Probe {
  /** Once it is known. */
  searchable: Searchable | undefined
  readonly #list: ListDefinition

  constructor(
    readonly connection: Connection,
    private readonly endpoint: Endpoint,
    private readonly rootDse: RootDse,
    readonly gal: GalSettings,
    private readonly ldap: LdapSettings,
  ) {
    this.#list = listDefinition(gal, ldap)
  }

  async *findings(): AsyncGenerator<Finding> {
    if (this.rootDse.namingContexts.length === 0) {
      yield warning('it says nothing about itself: its root entry is not readable')
    }
    const bases = await Promise.all(this.ldap.base.map((base) => this.#base(base)))
    yield* bases.flat()
    yield* otherAttributes(this.connection, this.rootDse, this.gal, this.#list, PATIENCE)
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
    const { code, diagnostic } = result
    const why = code === 0 ? 'is not readable to us' : reason(result)
    // Some proxies have none at the top.
    const below = await this.#find({ ...ANY_ENTRY, base })
    if (below.entries.length > 0) return [note(`base ${base}: ${why}, but entries below it are`)]
    const todo = REFUSED.has(code) ? hint(resultError(code, diagnostic), this.ldap) : ''
    return [problem(`base ${base}: ${why}${todo}${this.#contexts}`)]
  }

  /** Where else the base may be, to be appended. */
  get #contexts(): string {
    const contexts = printable(this.rootDse.namingContexts.join(', '))
    return contexts && `; the server has ${contexts}`
  }

  async *#entries(): AsyncGenerator<Finding> {
    const results = await this.#all(new AddressSearch(this.#list, PATIENCE).forAnyone())
    const failed = results.find(({ code }) => code !== 0 && code !== SIZE_LIMIT_EXCEEDED)
    const entries = results.flatMap((result) => result.entries)
    const attributes = this.gal.attributes.join(', ')
    if (failed) {
      const where = failed.code === NO_SUCH_OBJECT ? this.#contexts : ''
      yield problem(
        `a search for entries with an address: ${reason(failed)}${limitHint(failed)}${where}`,
      )
      if (failed.code === ADMIN_LIMIT_EXCEEDED) yield* this.#attributesProven()
    } else if (entries.length === 0) {
      yield problem(
        `no entry has an address in ${attributes}: are base, filter and the access rights correct?${await this.#unseen()}`,
      )
    } else {
      yield* this.#attributesProven()
      yield* this.#limit(results)
      yield* aliasObjects(this.connection, this.ldap, PATIENCE)
      yield* hiddenContainers(this.connection, this.#list, PATIENCE)
    }
  }

  /** Look-ups get by with a few entries at a time; a list in memory does not. */
  *#limit(results: readonly Result[]): Generator<Finding> {
    for (const { code, entries } of results) {
      if (code !== SIZE_LIMIT_EXCEEDED || entries.length >= SIZE_LIMIT) continue
      const most = `it returns at most ${entries.length} entries at a time to this account`
      yield this.#forSnapshot(`${most}: ${limitsToRaise(this.rootDse)}`)
      return
    }
  }

  /** @returns a sentence if the server shows us nothing but the bases themselves; otherwise '' */
  async #unseen(): Promise<string> {
    const { base: bases, bind_dn, bind_method } = this.ldap
    const isAnonymous = bind_method === 'simple' && bind_dn === ''
    const seen = await Promise.all(
      bases.map(async (base) => {
        const { entries } = await this.#find({ ...ANY_ENTRY, base })
        return entries.length > (base === '' ? 0 : 1)
      }),
    )
    if (seen.includes(true)) return ''
    const who = isAnonymous
      ? 'nobody may read entries there without bind_dn'
      : 'the account may not read entries there'
    return ` No entry below the base is shown to us: it is empty, or ${who}`
  }

  /** One line for each attribute, and for each part of the tree that is on another server. */
  async *#attributesProven(): AsyncGenerator<Finding> {
    const { ldap } = this
    const searchable = await readSearchable(this.connection, this.#list, PATIENCE)
    this.searchable = searchable
    for (const { attribute, doubts, isHeld, caseRule } of searchable.findings) {
      for (const { text } of doubts) yield problem(`${text}; ${DEFERRED}`)
      if (doubts.length > 0) continue
      const how = caseRule ? `; it is case-sensitive and is searched by ${caseRule} too` : ''
      yield isHeld
        ? ok(`${attribute}: entries have it, and are found by it${how}`)
        : note(`${attribute}: no entry has it; an entry that had it would be found${how}`)
    }
    for (const { text } of searchable.ofBases) yield problem(`${text}; ${DEFERRED}`)
    for (const name of searchable.dropped) {
      yield note(`${name}: its schema has no such attribute, so it is not searched`)
    }
    for (const [place, urls] of searchable.references.entries()) {
      const base = ldap.base[place] ?? ''
      for (const alternatives of byPart(urls)) {
        const [first = ''] = alternatives
        const url = alternatives.find((one) => whyNotFollowed(one, ldap) === undefined) ?? first
        const why = whyNotFollowed(url, ldap)
        yield why === undefined
          ? ok(`part of the tree below ${base || 'the top'} is asked at ${printable(url)}`)
          : problem(referredText(base, url, why, searchable.isActiveDirectory))
      }
    }
  }

  async *#indexes(): AsyncGenerator<Finding> {
    const start = performance.now()
    await this.#all(new AddressSearch(this.#list, PATIENCE).forNobody())
    const took = performance.now() - start
    const time = `a search for an address takes ${took.toFixed(1)} ms`
    const indexed = (await this.#activeDirectoryIndexes()) ?? (await this.#openLdapIndexes())
    if (!indexed) {
      yield took > QUICK
        ? warning(`${time}: are ${this.gal.attributes.join(', ')} indexed?`)
        : note(`${time}; which attributes are indexed cannot be read`)
      return
    }
    const problems = [...indexed.values()].filter(Boolean)
    for (const text of problems) yield warning(text)
    yield problems.length === 0 ? ok(`the attributes are indexed; ${time}`) : note(time)
  }

  /** The lowest bit of searchFlags marks an indexed attribute (MS-ADTS §2.2.9). */
  async #activeDirectoryIndexes(): Promise<Indexes | undefined> {
    const [base] = await this.#rootValues('schemaNamingContext')
    if (!base) return undefined
    const indexes: Indexes = new Map()
    const { authenticated_only_attribute, host_attribute, routing_attribute, attributes } = this.gal
    const others = [authenticated_only_attribute, host_attribute, routing_attribute].filter(Boolean)
    for (const name of [...attributes, ...others]) {
      const { entries } = await this.#find({
        base,
        scope: SCOPE.subtree,
        filter: equals('lDAPDisplayName', name),
        attributes: attributeList(['searchFlags', 'isMemberOfPartialAttributeSet']),
      })
      const [entry] = entries
      if (!entry) continue
      const isIndexed = (Number(textsOf(entry, 'searchFlags')[0] ?? 0) & 1) === 1
      const inCatalog = textsOf(entry, 'isMemberOfPartialAttributeSet')[0] === 'TRUE'
      const isMissing = GLOBAL_CATALOG_PORTS.has(this.endpoint.port) && !inCatalog
      const text = isMissing ? `${name} is not marked for the Global Catalog` : ''
      const isSearched = attributes.includes(name)
      indexes.set(name.toLowerCase(), isIndexed || !isSearched ? text : notIndexed(name))
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
        .flatMap((entry) => textsOf(entry, 'olcDbIndex'))
        .filter((line) => /\beq\b/.test(line))
        .flatMap((line) => (line.split(' ')[0] ?? '').toLowerCase().split(',')),
    )
    return new Map(
      [...this.#list.names].map((name) => [name, indexed.has(name) ? '' : notIndexed(name)]),
    )
  }

  #paging(): Finding {
    if (this.rootDse.controls.has(PAGED_RESULTS)) {
      return ok('it returns long results in pages')
    }
    return this.#forSnapshot('it does not return long results in pages')
  }

  /** Tries the ways in which a snapshot may follow changes (follow.ts), as far as a check can. */
  async #feed(): Promise<Finding> {
    const trial = {
      connection: this.connection,
      rootDse: this.rootDse,
      list: this.#list,
      isWanted: this.gal.mode === 'snapshot',
      patience: PATIENCE,
    }
    let refused = 'it does not report changes'
    for (const { name, load } of FEEDS) {
      const { feed } = await load()
      if (!feed.isAnnounced(this.rootDse, this.#list)) continue
      if (feed.looksBy) {
        return this.#forSnapshot(`${refused}; they are found by ${feed.looksBy}`)
      }
      const why = await feed.trial?.(trial)
      if (why === undefined) return ok(`it reports changes: ${name}`)
      refused = why
    }
    return this.#forSnapshot(refused)
  }

  /** A warning if a snapshot is configured; otherwise a note. */
  #forSnapshot(text: string): Finding {
    const isWanted = this.gal.mode === 'snapshot'
    return isWanted ? warning(text) : note(`${text}; only a snapshot needs that`)
  }

  async #rootValues(attribute: string): Promise<string[]> {
    const { entries } = await this.#read('', [attribute])
    return textsOf(entries[0], attribute)
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

/** What is wrong with an attribute's index, by its name in lower case; '' if nothing is. */
type Indexes = Map<string, string>
type Ended = Pick<Result, 'code' | 'diagnostic'> & Partial<Pick<Result, 'references'>>

const notIndexed = (name: string) => `${name} is not indexed: searches read the whole directory`

const reason = ({ code, diagnostic, references }: Ended) =>
  resultError(code, diagnostic, references).message

const textsOf = (entry: Entry | undefined, attribute: string) =>
  valuesOf(entry, attribute).map((value) => value.toString('utf8'))

// An LDAP server that answers searches as the test says, correctly or not.
import * as ldapjs from 'ldapjs'
import type { Attributes } from './ldif'

/** A search as it was received. */
export interface FakeSearch {
  readonly base: string
  readonly scope: string
  readonly filter: string
  /** The values of all equality tests in the filter; values in upper case are added in lower case. */
  readonly values: readonly string[]
  readonly attributes: readonly string[]
}

export interface FakeAnswer {
  readonly entries?: readonly { readonly dn: string; readonly attributes: Attributes }[]
  /** URLs of a searchResultReference, sent before the entries */
  readonly references?: readonly string[]
  /** The result code; default success. */
  readonly code?: number
  /** Bytes to send instead of all that. */
  readonly bytes?: Buffer
  /** Send no answer. */
  readonly isSilent?: boolean
  /** Close the connection after the entries, without a result. */
  readonly isCut?: boolean
}

export interface FakeLdap {
  readonly port: number
  readonly url: string
  /** All searches so far. */
  readonly searches: readonly FakeSearch[]
  stop(): Promise<void>
}

/**
 * Every bind succeeds. Searches for the schema get the attributes of Exchange, and are not counted. Searches for
 * which `answer` returns nothing succeed without entries.
 */
export async function startFakeLdap(
  answer: (search: FakeSearch) => FakeAnswer | undefined,
): Promise<FakeLdap> {
  const server = ldapjs.createServer() as unknown as Server
  const searches: FakeSearch[] = []
  server.on('error', () => {})
  server.bind('', (_request, response, next) => {
    response.end()
    return next()
  })
  server.search('', (request, response, next) => {
    const itself = aboutItself(request)
    if (itself) {
      send(request, response, itself)
      return next()
    }
    const search = {
      base: String(request.baseObject),
      scope: request.scope,
      filter: request.filter.toString(),
      values: equalityValues(request.filter),
      attributes: request.attributes,
    }
    searches.push(search)
    send(request, response, answer(search) ?? {})
    return next()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  return {
    port,
    url: `ldap://127.0.0.1:${port}`,
    searches,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

const SUBSCHEMA = 'cn=subschema'
const ATTRIBUTE_TYPES = ['mail', 'proxyAddresses', 'targetAddress', 'otherMailbox'].map(
  (name, i) => `( 1.3.6.1.4.1.4203.666.1.${i} NAME '${name}' EQUALITY caseIgnoreMatch )`,
)

function aboutItself({ baseObject, scope, attributes }: Request): FakeAnswer | undefined {
  if (!['0', 'base'].includes(String(scope))) return undefined
  const dn = String(baseObject).toLowerCase()
  if (dn === SUBSCHEMA) {
    return { entries: [{ dn, attributes: { attributeTypes: ATTRIBUTE_TYPES } }] }
  }
  const isRoot = dn === '' && attributes.includes('subschemasubentry')
  return isRoot ? { entries: [{ dn, attributes: { subschemaSubentry: SUBSCHEMA } }] } : undefined
}

function send(request: Request, response: Response, answer: FakeAnswer): void {
  if (answer.isSilent) return
  if (answer.bytes) {
    request.connection.write(answer.bytes)
    return
  }
  if (answer.references) {
    response.send(response.createSearchReference([...answer.references]))
  }
  for (const { dn, attributes } of answer.entries ?? []) {
    if (!mayMatch(request.filter, attributes)) continue
    const lists = Object.entries(attributes).flatMap(([type, values]) =>
      values === undefined ? [] : [{ type, values: [values].flat() }],
    )
    response.send(response.createSearchEntry({ dn, attributes: lists }))
  }
  if (answer.isCut) request.connection.end()
  else response.end(answer.code ?? 0)
}

/** Whether an entry passes the presence tests in the filter; the test decides about the other tests. */
function mayMatch(filter: Filter, attributes: Attributes): boolean {
  const { type, attribute = '', clauses = [] } = filter
  const has = Object.keys(attributes).some((name) => name.toLowerCase() === attribute.toLowerCase())
  if (type === 'PresenceFilter') return has || attribute.toLowerCase() === 'objectclass'
  if (type === 'AndFilter') return clauses.every((one) => mayMatch(one, attributes))
  if (type === 'OrFilter') return clauses.some((one) => mayMatch(one, attributes))
  if (type !== 'NotFilter' || filter.filter?.type !== 'PresenceFilter') return true
  return !mayMatch(filter.filter, attributes)
}

function equalityValues(filter: Filter): string[] {
  if (filter.type === 'EqualityFilter') {
    const value = unescaped(filter.value)
    return value === value.toUpperCase() ? [value, value.toLowerCase()] : [value]
  }
  return (filter.clauses ?? []).flatMap(equalityValues)
}

/** ldapjs returns values with all non-ASCII characters escaped, as in the text of a filter. */
function unescaped(value: string): string {
  return decodeURIComponent(value.replaceAll('%', '%25').replace(/\\([0-9a-f]{2})/g, '%$1'))
}

// The parts of ldapjs' server that we use and that its types lack.
interface Filter {
  readonly type: string
  readonly value: string
  readonly clauses?: readonly Filter[]
  readonly attribute?: string
  readonly filter?: Filter
}
interface Request {
  readonly baseObject: unknown
  readonly scope: string
  readonly filter: Filter
  readonly attributes: readonly string[]
  readonly connection: { write(bytes: Buffer): void; end(): void }
}
interface Response {
  send(message: unknown): void
  createSearchReference(urls: string[]): unknown
  createSearchEntry(entry: { dn: string; attributes: unknown[] }): unknown
  end(code?: number): void
}
type Handler = (request: Request, response: Response, next: () => void) => void
interface Server {
  on(event: 'error', listener: (error: Error) => void): void
  bind(base: string, handler: Handler): void
  search(base: string, handler: Handler): void
  listen(port: number, host: string, done: () => void): void
  address(): { readonly port: number }
  close(done: () => void): void
}

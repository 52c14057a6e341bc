// A directory in memory, served over LDAP (RFC 4511) on loopback, for the demo and for tests on
// machines without a directory server. It can bind, search and page; nothing can be changed over
// LDAP. Names and values are compared without regard to case, as other directories do for mail
// attributes.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import path from 'node:path'
import ldap from 'ldapjs'
import { type DirectoryEntry, readLdif } from './ldif'

export interface DirectoryOptions {
  /** The DN above all entries; by default, that of the first entry. */
  readonly base?: string
  /** By default, a free port. */
  readonly port?: number
  /** If both are set, only this account may search; otherwise everybody may, without binding. */
  readonly bindDn?: string
  readonly bindPassword?: string
}

export interface Directory {
  /** `ldap://127.0.0.1:port` */
  readonly url: string
  readonly port: number
  readonly base: string
  /** The number of searches so far. */
  readonly searches: number
  /** Replaces all entries; later searches see the new ones. */
  setEntries(entries: readonly DirectoryEntry[]): void
  /** Closes the listener and all connections. */
  stop(): Promise<void>
}

/** The companies of the demo: `demo/people.ldif` and `demo/beta.ldif`. */
export function samplePeople(company: 'people' | 'beta' = 'people'): DirectoryEntry[] {
  const file = path.join(__dirname, '..', '..', 'demo', `${company}.ldif`)
  return readLdif(readFileSync(file, 'utf8'))
}

/** @throws Error if the port is taken or a DN is invalid */
export async function startDirectory(
  entries: readonly DirectoryEntry[],
  options: DirectoryOptions = {},
): Promise<Directory> {
  const base = options.base ?? entries[0]?.dn ?? ''
  let stored = entries.map(store)
  let searches = 0
  const sockets = new Set<Socket>()
  const trusted = new WeakSet<Socket>()

  const server = ldap.createServer() as LdapServer
  server.server.on('connection', (socket: Socket) => {
    // An entry and the result after it are two writes; Nagle would delay the second for 40 ms.
    socket.setNoDelay(true)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })

  server.bind('', (request: BindRequest, response: Response, next: Next) => {
    const right =
      options.bindDn !== undefined &&
      options.bindPassword === request.credentials &&
      keyOf(options.bindDn) === keyOf(request.dn.toString())
    if (!right) return next(new ldap.InvalidCredentialsError())
    trusted.add(request.connection)
    response.end()
    next()
  })

  server.search('', (request: SearchRequest, response: Response, next: Next) => {
    searches++
    const asked = keyOf(request.baseObject.toString())
    if (asked === '' && request.scopeName === 'base') {
      send(response, rootDse(base), request)
      response.end()
      return next()
    }
    if (options.bindDn !== undefined && !trusted.has(request.connection)) {
      return next(new ldap.InsufficientAccessRightsError())
    }
    if (asked !== '' && !stored.some(({ key }) => key === asked)) {
      return next(new ldap.NoSuchObjectError())
    }
    const inScope = scopeOf(request.scopeName, asked)
    const found = stored.filter((entry) => inScope(entry) && matches(request.filter, entry))
    const limit = request.sizeLimit || Number.POSITIVE_INFINITY
    const paging = request.controls.find(({ type }) => type === PagedResultsControl.OID)
    const from = Number(paging?.value.cookie.toString() || 0)
    const to = Math.min(from + (paging?.value.size || found.length), limit)
    for (const entry of found.slice(from, to)) send(response, entry, request)
    if (paging) {
      const cookie = Buffer.from(to < found.length && to < limit ? String(to) : '')
      response.addControl(new PagedResultsControl({ value: { size: found.length, cookie } }))
    }
    response.end(to === limit && found.length > limit ? SIZE_LIMIT_EXCEEDED : 0)
    next()
  })

  server.listen(options.port ?? 0, '127.0.0.1', () => {})
  await once(server.server, 'listening')
  // A client that breaks off or does not speak LDAP is no concern of ours.
  server.on('error', () => {})

  return {
    url: server.url,
    port: server.port,
    base,
    get searches() {
      return searches
    },
    setEntries(next) {
      stored = next.map(store)
    },
    async stop() {
      const closed = once(server.server, 'close')
      server.close(() => {})
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** An entry prepared for comparison: its DNs and attributes are normalized. */
interface StoredEntry extends DirectoryEntry {
  readonly key: string
  readonly parentKey: string
  readonly values: ReadonlyMap<string, readonly string[]>
}

function store(entry: DirectoryEntry): StoredEntry {
  const dn = ldap.parseDN(entry.dn)
  const values = Object.entries(entry.attributes).map(
    ([type, all]) => [type.toLowerCase(), all.map(fold)] as const,
  )
  return {
    ...entry,
    key: keyOf(entry.dn),
    parentKey: fold(dn.parent()?.toString() ?? ''),
    values: new Map(values),
  }
}

function rootDse(base: string): StoredEntry {
  const attributes = {
    objectClass: ['top'],
    namingContexts: [base],
    supportedLDAPVersion: ['3'],
    supportedControl: [PagedResultsControl.OID],
  }
  return { dn: '', attributes, key: '', parentKey: '', values: new Map() }
}

function scopeOf(scope: SearchRequest['scopeName'], base: string): (entry: StoredEntry) => boolean {
  if (scope === 'base') return ({ key }) => key === base
  if (scope === 'single') return ({ parentKey }) => parentKey === base
  return ({ key }) => base === '' || key === base || key.endsWith(`,${base}`)
}

/** RFC 4511 §4.5.1.7 without extensible matching, which matches nothing here. */
function matches(filter: Filter, entry: StoredEntry): boolean {
  const values = entry.values.get(filter.attribute?.toLowerCase() ?? '') ?? []
  switch (filter.type) {
    case 'AndFilter':
      return filter.filters.every((part) => matches(part, entry))
    case 'OrFilter':
      return filter.filters.some((part) => matches(part, entry))
    case 'NotFilter':
      return !matches(filter.filter, entry)
    case 'PresenceFilter':
      return values.length > 0
    case 'EqualityFilter':
    case 'ApproximateFilter':
      return values.includes(fold(filter.value))
    case 'GreaterThanEqualsFilter':
      return values.some((value) => value >= fold(filter.value))
    case 'LessThanEqualsFilter':
      return values.some((value) => value <= fold(filter.value))
    case 'SubstringFilter':
      return values.some((value) => hasParts(value, filter))
    default:
      return false
  }
}

function hasParts(value: string, { initial = '', any, final = '' }: SubstringFilter): boolean {
  if (!value.startsWith(fold(initial))) return false
  let position = initial.length
  for (const part of any) {
    const found = value.indexOf(fold(part), position)
    if (found < 0) return false
    position = found + part.length
  }
  return value.length - position >= final.length && value.endsWith(fold(final))
}

/** Sends the requested attributes, or all if none or `*` is requested (RFC 4511 §4.5.1.8). */
function send(response: Response, entry: StoredEntry, request: SearchRequest): void {
  const asked = request.attributes.map((name) => name.toLowerCase())
  const all = asked.length === 0 || asked.includes('*')
  const attributes = Object.entries(entry.attributes)
    .filter(([type]) => all || asked.includes(type.toLowerCase()))
    .map(([type, values]) => new ldap.Attribute({ type, values: request.typesOnly ? [] : values }))
  response.send(response.createSearchEntry({ objectName: entry.dn, attributes }))
}

function keyOf(dn: string): string {
  return fold(ldap.parseDN(dn).toString())
}

function fold(text: string): string {
  return text.toLowerCase()
}

// ldapjs' own types do not describe what its server passes to handlers.
const { PagedResultsControl } = ldap as unknown as { PagedResultsControl: PagedResultsControlClass }
const SIZE_LIMIT_EXCEEDED = 4

type Next = (error?: object) => void

interface LdapServer extends ldap.Server {
  readonly server: import('node:net').Server
  readonly port: number
}

interface BindRequest {
  readonly connection: Socket
  readonly dn: { toString(): string }
  readonly credentials: string
}

interface SearchRequest {
  readonly connection: Socket
  readonly baseObject: { toString(): string }
  readonly scopeName: 'base' | 'single' | 'subtree'
  readonly filter: Filter
  readonly attributes: readonly string[]
  readonly sizeLimit: number
  readonly typesOnly: boolean
  readonly controls: readonly PagedResults[]
}

interface Response {
  createSearchEntry(entry: { objectName: string; attributes: unknown[] }): object
  send(entry: object): void
  addControl(control: object): void
  end(status?: number): void
}

interface PagedResults {
  readonly type: string
  readonly value: { readonly size: number; readonly cookie: Buffer }
}

interface PagedResultsControlClass {
  readonly OID: string
  new (options: { value: PagedResults['value'] }): object
}

interface SubstringFilter {
  readonly type: 'SubstringFilter'
  readonly attribute: string
  readonly initial?: string
  readonly any: readonly string[]
  readonly final?: string
}

type Filter =
  | {
      readonly type: 'AndFilter' | 'OrFilter'
      readonly filters: readonly Filter[]
      readonly attribute?: undefined
    }
  | { readonly type: 'NotFilter'; readonly filter: Filter; readonly attribute?: undefined }
  | { readonly type: 'PresenceFilter'; readonly attribute: string }
  | {
      readonly type:
        | 'EqualityFilter'
        | 'ApproximateFilter'
        | 'GreaterThanEqualsFilter'
        | 'LessThanEqualsFilter'
      readonly attribute: string
      readonly value: string
    }
  | SubstringFilter

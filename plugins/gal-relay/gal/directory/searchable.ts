// Works out what a server can be searched for, now and then rather than at each look-up. An address may be
// called absent only if it would have been found had it been there. So each attribute is proven below each
// base, by the schema and by what entries really show; one that works says nothing about another.

import { GLOBAL_CATALOG_PORTS } from '../../ldap/active-directory'
import type { Connection } from '../../ldap/connection'
import { ADMIN_LIMIT_EXCEEDED, resultError } from '../../ldap/directory-error'
import { attributesOfFilter } from '../../ldap/filter'
import { isActiveDirectory, type RootDse, readRootDse } from '../../ldap/root-dse'
import { type AttributeType, readSchema, type Schema } from '../../ldap/schema'
import type { Result } from '../../ldap/search-result'
import { AddressSearch, type CaseRule } from './address-search'
import { AttributeProof, type BaseFinding, shownNames } from './attribute-proof'
import { BaseSearch, type Doubt } from './base-search'
import { type Filling, isBeingFilled } from './being-filled'
import { LEGACY_DN } from './entry-addresses'
import { hiddenAttributes, hiddenFromFilter, readSome, readSomeOfEach } from './hidden-attributes'
import { type AccountRights, hiddenByRights, readAccountRights } from './hidden-by-rights'
import type { ListDefinition } from './list-definition'
import { databasesOf, findParts, type Parts } from './parts-away'
import { mayHoldRecipients } from './references'
import { valuesNotFound } from './shown-values'

export type { Doubt } from './base-search'

/** What is known about an attribute, for people to read: doubts below any base, or that all is well. */
export interface AttributeFinding {
  readonly attribute: string
  readonly doubts: readonly Doubt[]
  /** Whether any entry has it. */
  readonly isHeld: boolean
  readonly caseRule: string | undefined
}

export interface Searchable {
  /** The attributes that are searched, by the names that the server shows; without `dropped`. */
  readonly attributes: readonly string[]
  /** The names that entries show, in lower case: those of the attributes and of their subtypes. */
  readonly shownAs: readonly string[]
  /** Other requested attributes: the settings' name by the server's in lower case, if the two differ. */
  readonly namedOtherwise: ReadonlyMap<string, string>
  /** Default attributes that this server does not know. */
  readonly dropped: readonly string[]
  readonly caseRules: readonly CaseRule[]
  readonly findings: readonly AttributeFinding[]
  /** Doubts about whole bases. */
  readonly ofBases: readonly Doubt[]
  /** All doubts. */
  readonly doubts: readonly Doubt[]
  /** Whether a part of the tree, in a database of its own, cannot be asked. */
  readonly isPartAway: boolean
  /** Whether the server is known to have no replication state below some base. */
  readonly isStateless: boolean
  /** By the place of the base: containers in which entries were seen; in lower case. */
  readonly containers: readonly ReadonlySet<string>[]
  /** When each container was sampled last, on the clock of performance.now(). */
  readonly sampledAt: number | undefined
  /** References that may lead to recipients, by the place of the base. */
  readonly references: readonly (readonly string[])[]
  /** DNs of the tops of parts that are in databases of their own, which may be left out at any time. */
  readonly parts: readonly string[]
  readonly isActiveDirectory: boolean
}

/** Whether reading all entries may miss addresses, or return entries without theirs. */
export function hidesEntries({ doubts, references }: Searchable): boolean {
  return (
    doubts.some(({ isOfSearches }) => !isOfSearches) || references.some(({ length }) => length > 0)
  )
}

/** Milliseconds between two samplings of each container, while all is well. */
const SAMPLE_AFTER = 600_000

/** The default of `[gal] attributes`, in lower case: none of these can be a typing error. */
const DEFAULT = new Set(['proxyaddresses', 'mail'])

/**
 * @param patience milliseconds for each search
 * @param before what was read last, of the same list and server
 * @throws DirectoryError when it cannot be known
 */
export async function readSearchable(
  connection: Connection,
  list: ListDefinition,
  patience: number,
  before?: Searchable,
): Promise<Searchable> {
  const rootDse = await readRootDse(connection, patience)
  const schema = await readSchema(connection, rootDse, patience)
  const types = list.attributes.map((name) => ({ configured: name, type: schema?.find(name) }))
  const withoutX500 = types.filter(({ configured }) => configured.toLowerCase() !== LEGACY_DN)
  const isDefault = withoutX500.every(({ configured }) => DEFAULT.has(configured.toLowerCase()))
  // At least one attribute must remain to hold addresses.
  const mayDrop = schema && withoutX500.some(({ type }) => type !== undefined)
  const used = types.filter(
    (one) => !mayDrop || one.type || !(isDefault || !withoutX500.includes(one)),
  )
  const attributes = [...new Set(used.map(nameOf))]
  const options = { connection, list: { ...list, attributes }, patience }
  const searches = new AddressSearch(list, patience).forNobody()
  const ofFilter = attributesOfFilter(list.filterText).flatMap((name) => schema?.find(name) ?? [])
  const filterNames = ofFilter.map(({ name }) => name)
  const rights = isActiveDirectory(rootDse)
    ? await readAccountRights(connection, rootDse, list, [...attributes, ...filterNames], patience)
    : undefined
  const now = performance.now()
  const { sampledAt = Number.NEGATIVE_INFINITY, doubts = [] } = before ?? {}
  const maySample = doubts.length > 0 || now - sampledAt > SAMPLE_AFTER
  const databases = await databasesOf(connection, rootDse, patience)
  const [found, proofs] = await Promise.all([
    Promise.all(searches.map((search) => connection.search(search, patience))),
    Promise.all(
      list.bases.map((base, place) =>
        proofOf(new BaseSearch(options, base), {
          ...{ used, schema, filterNames, rights, rootDse, databases, maySample },
          containers: before?.containers[place],
        }),
      ),
    ),
  ])
  const ofServer = unsearched(list.bases, found)
  const bases = proofs.map((proof, place) => (isSearched(found[place]) ? proof : UNSEARCHED))
  const findings = used.map(({ configured }, i) =>
    findingOf(
      configured,
      bases.flatMap(({ attributes }) => attributes[i] ?? []),
    ),
  )
  const away = bases.flatMap(({ parts }) => parts?.away ?? [])
  const ofBases = [
    ...ofServer,
    ...unfinished(rootDse, connection),
    ...bases.flatMap(({ filling }) => filling?.doubt ?? []),
    ...away,
    ...bases.flatMap(({ filter }) => filter ?? []),
    ...bareBases(list.bases, bases),
  ]
  return {
    attributes,
    // Dropped ones stay: they show nothing, but legacyExchangeDN makes X.500 addresses in others count.
    shownAs: types.flatMap(({ configured, type }) => shownNames(configured, type)),
    namedOtherwise: schema ? namedOtherwise(list, schema) : new Map(),
    dropped: types.filter((one) => !used.includes(one)).map(({ configured }) => configured),
    caseRules: findings.flatMap(({ attribute, caseRule }, i) =>
      caseRule ? [{ attribute: used[i]?.type?.name ?? attribute, rule: caseRule }] : [],
    ),
    findings,
    ofBases,
    doubts: [...findings.flatMap(({ doubts }) => doubts), ...ofBases],
    isPartAway: away.length > 0,
    isStateless: bases.some(({ filling }) => filling?.isStateless),
    containers: bases.map(({ parts }) => parts?.containers ?? new Set()),
    sampledAt: bases.some((one) => one.isEachSampled) ? now : before?.sampledAt,
    references: found.map(({ references }) => mayHoldRecipients(references)),
    parts: [...new Set(bases.flatMap(({ parts }) => parts?.databases ?? []))],
    isActiveDirectory: isActiveDirectory(rootDse),
  }
}

/** The attributes that say who may send to an entry, and where its mail goes. */
function namedOtherwise({ flag, mailbox }: ListDefinition, schema: Schema): Map<string, string> {
  const names = [flag, mailbox?.host ?? '', mailbox?.address ?? ''].filter(Boolean)
  const shown = names.flatMap((name) =>
    (schema.find(name)?.shownAs ?? []).map((other) => [other.toLowerCase(), name] as const),
  )
  return new Map(shown.filter(([other, name]) => other !== name))
}

/** The limit on entries looked through may concern one attribute alone: each is tried by itself. */
const isSearched = (one: Result | undefined) =>
  one?.code === 0 || one?.code === ADMIN_LIMIT_EXCEEDED

/**
 * Bases that the server does not search, while it searches others.
 * @throws DirectoryError if it searches none
 */
function unsearched(bases: readonly string[], results: readonly Result[]): Doubt[] {
  const errors = results.map((one) =>
    isSearched(one) ? undefined : resultError(one.code, one.diagnostic, one.references),
  )
  const [first] = errors
  if (first && !errors.includes(undefined)) throw first
  return errors.flatMap((error, place) => {
    if (!error) return []
    const text = `below ${bases[place] || 'the top'} nothing can be searched: ${error.message}`
    return [{ isOfSearches: false, text }]
  })
}

/** A domain controller that has just started, or joined the domain, lacks what others have. */
function unfinished(
  { isSynchronized, isGlobalCatalogReady }: RootDse,
  { port = 0 }: Connection,
): Doubt[] {
  const isCatalog = GLOBAL_CATALOG_PORTS.has(port)
  if (isSynchronized && (isGlobalCatalogReady || !isCatalog)) return []
  const what = isSynchronized ? 'isGlobalCatalogReady' : 'isSynchronized'
  const text = `the domain controller has not yet received all that others have (${what} is FALSE)`
  return [{ isOfSearches: false, text }]
}

/** What was found out below one base. */
interface BaseProof {
  /** In the order of the attributes that are used. */
  readonly attributes: readonly BaseFinding[]
  readonly filter: Doubt | undefined
  /** undefined if it is not searched */
  readonly parts?: Parts
  readonly filling?: Filling
  readonly isEachSampled: boolean
}

/** Below a base that the server does not search. */
const UNSEARCHED: BaseProof = { attributes: [], filter: undefined, isEachSampled: false }

/** What is known about the server. */
interface Known {
  readonly used: readonly Named[]
  readonly schema: Schema | undefined
  /** Attributes of the filter. */
  readonly filterNames: readonly string[]
  /** undefined on servers where searches reveal hidden attributes. */
  readonly rights: AccountRights | undefined
  readonly rootDse: RootDse
  /** DNs. */
  readonly databases: readonly string[]
  /** Containers in which entries were seen before. */
  readonly containers: ReadonlySet<string> | undefined
  /** Whether each container may be sampled now. */
  readonly maySample: boolean
}

async function proofOf(
  search: BaseSearch,
  { used, schema, filterNames, rights, rootDse, databases, containers, maySample }: Known,
): Promise<BaseProof> {
  const [findings, filter, some] = await Promise.all([
    Promise.all(
      used.map(({ configured, type }) =>
        new AttributeProof(search, configured, type, schema).run(),
      ),
    ),
    hiddenFromFilter(search, filterNames),
    readSome(search),
  ])
  const doubtOf = (i: number) => (findings[i] as BaseFinding).doubt
  const shown = used.flatMap((one, i) => {
    const doubt = doubtOf(i)
    const { isHeld } = findings[i] as BaseFinding
    return doubt && !doubt.isOfSearches ? [] : [{ name: nameOf(one), isHeld }]
  })
  const names = shown.map(({ name }) => name)
  const isEachSampled = some.isCut && maySample && !rights && names.length > 0
  const each = isEachSampled ? await readSomeOfEach(search, names) : undefined
  const searched = used.filter((_, i) => !doubtOf(i)).map(shownAttribute)
  const entries = [some, ...(each ? [each] : []), ...findings].flatMap((one) => one.entries ?? [])
  const [hidden, notFound, parts, filling, byRights] = await Promise.all([
    hiddenAttributes(search, names, some.named, each?.undecided ?? []),
    valuesNotFound(search, searched, entries),
    findParts(search, databases, [...some.named, ...entries], containers),
    isBeingFilled(search, rootDse),
    rights && hiddenByRights(search, rights, shown, filter ? [] : filterNames),
  ])
  const attributes = findings.map((finding, i) => {
    const name = nameOf(used[i] as Named)
    const doubt = hidden.get(name) ?? byRights?.attributes.get(name) ?? notFound.get(name)
    return doubt ? { ...finding, doubt } : finding
  })
  return { attributes, filter: filter ?? byRights?.filter, parts, filling, isEachSampled }
}

/** An attribute of the settings, as this server knows it. */
interface Named {
  readonly configured: string
  readonly type: AttributeType | undefined
}

const nameOf = ({ configured, type }: Named) => type?.name ?? configured

const shownAttribute = (one: Named) => ({
  name: nameOf(one),
  shownAs: shownNames(one.configured, one.type),
})

function findingOf(attribute: string, ofBases: readonly BaseFinding[]): AttributeFinding {
  const doubts = new Map(ofBases.flatMap(({ doubt }) => (doubt ? [[doubt.text, doubt]] : [])))
  return {
    attribute,
    doubts: [...doubts.values()],
    isHeld: ofBases.some(({ isHeld }) => isHeld),
    caseRule: ofBases.find(({ caseRule }) => caseRule)?.caseRule,
  }
}

/**
 * Bases below which no entry shows an address, so nothing proves that one would be found. Other bases
 * cannot vouch for them.
 */
function bareBases(bases: readonly string[], proofs: readonly BaseProof[]): Doubt[] {
  // With a single base, every look-up finds this out for itself.
  if (bases.length < 2) return []
  const isBare = (place: number) =>
    proofs[place] !== UNSEARCHED &&
    proofs[place]?.attributes.every(({ isHeld, doubt }) => !isHeld && !doubt)
  return bases
    .filter((_, place) => isBare(place))
    .map((base) => ({
      isOfSearches: false,
      text:
        `below ${base || 'the top'} no entry shows an address: are base, filter and access rights correct? ` +
        'If it is meant to be empty, remove it from base[]',
    }))
}

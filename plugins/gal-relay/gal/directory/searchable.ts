// What a server can be searched for, worked out once in a while and not at each look-up. That an
// address is absent may only be said where it would have been found, had it been there. So each attribute
// is proven below each base, by the schema and by what entries really show; one that works says nothing of
// another.

import { GLOBAL_CATALOG_PORTS } from '../../ldap/active-directory'
import type { Connection } from '../../ldap/connection'
import { ADMIN_LIMIT_EXCEEDED, resultError } from '../../ldap/directory-error'
import { attributesOfFilter } from '../../ldap/filter'
import { isActiveDirectory, type RootDse, readRootDse } from '../../ldap/root-dse'
import { type AttributeType, readSchema, type Schema } from '../../ldap/schema'
import type { Result } from '../../ldap/search-result'
import { AddressSearch, type CaseRule } from './address-search'
import { AttributeProof, type BaseFinding } from './attribute-proof'
import { BaseSearch, type Doubt } from './base-search'
import { LEGACY_DN } from './entry-addresses'
import { hiddenAttributes, hiddenFromFilter } from './hidden-attributes'
import { type AccountRights, hiddenByRights, readAccountRights } from './hidden-by-rights'
import type { ListDefinition } from './list-definition'
import { missingFromIndex } from './missing-from-index'
import { partsBelow, partsLeftOut } from './parts'
import { mayHoldRecipients } from './references'

export type { Doubt } from './base-search'

/** What is known of an attribute, for people: a doubt below any base, or that all is well. */
export interface AttributeFinding {
  readonly attribute: string
  readonly doubts: readonly Doubt[]
  /** Some entry has it. */
  readonly isHeld: boolean
  readonly caseRule: string | undefined
}

export interface Searchable {
  /** By the names under which the server shows them, without those that it does not know by default. */
  readonly attributes: readonly string[]
  /** In lower case, with those that derive from them: what entries show. */
  readonly shownAs: readonly string[]
  /** What else is asked for, where it is shown under other names: the settings' name by the server's, in lower case. */
  readonly namedOtherwise: ReadonlyMap<string, string>
  /** Attributes of the default that this server does not know. */
  readonly dropped: readonly string[]
  readonly caseRules: readonly CaseRule[]
  readonly findings: readonly AttributeFinding[]
  /** Of whole bases. */
  readonly ofBases: readonly Doubt[]
  /** All there are. */
  readonly doubts: readonly Doubt[]
  /** References that may lead to recipients, by the place of the base. */
  readonly references: readonly (readonly string[])[]
  /** DNs of the tops of parts that are in databases of their own, which may be left out at any time. */
  readonly parts: readonly string[]
  readonly isActiveDirectory: boolean
}

/** Whether a reading of all entries may lack addresses, or have entries without theirs. */
export function hidesEntries({ doubts, references }: Searchable): boolean {
  return (
    doubts.some(({ isOfSearches }) => !isOfSearches) || references.some(({ length }) => length > 0)
  )
}

/** As the settings have it when nothing is said: so written, no name is mistyped. */
const DEFAULT = new Set(['proxyaddresses', 'mail'])

/**
 * @param patience milliseconds for each search
 * @throws DirectoryError when it cannot be known
 */
export async function readSearchable(
  connection: Connection,
  list: ListDefinition,
  patience: number,
): Promise<Searchable> {
  const rootDse = await readRootDse(connection, patience)
  const schema = await readSchema(connection, rootDse, patience)
  const types = list.attributes.map((name) => ({ configured: name, type: schema?.find(name) }))
  const withoutX500 = types.filter(({ configured }) => configured.toLowerCase() !== LEGACY_DN)
  const isDefault = withoutX500.every(({ configured }) => DEFAULT.has(configured.toLowerCase()))
  // Some of the addresses must be somewhere.
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
  const parts = partsBelow(list.bases, rootDse)
  const searchAll = (all: readonly Buffer[]) =>
    Promise.all(all.map((one) => connection.search(one, patience)))
  const [found, leftOut, proofs] = await Promise.all([
    searchAll(searches),
    partsLeftOut(parts, searchAll),
    Promise.all(
      list.bases.map((base) =>
        proofOf(new BaseSearch(options, base), { used, schema, filterNames, rights }),
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
  const ofBases = [
    ...ofServer,
    ...unfinished(rootDse, connection),
    ...leftOut,
    ...bases.flatMap(({ filter }) => filter ?? []),
    ...bareBases(list.bases, bases),
  ]
  return {
    attributes,
    // An attribute that is not there shows nothing; X.500 addresses count in others nevertheless.
    shownAs: types
      .flatMap(({ configured, type }) => type?.shownAs ?? [configured])
      .map((name) => name.toLowerCase()),
    namedOtherwise: schema ? namedOtherwise(list, schema) : new Map(),
    dropped: types.filter((one) => !used.includes(one)).map(({ configured }) => configured),
    caseRules: findings.flatMap(({ attribute, caseRule }, i) =>
      caseRule ? [{ attribute: used[i]?.type?.name ?? attribute, rule: caseRule }] : [],
    ),
    findings,
    ofBases,
    doubts: [...findings.flatMap(({ doubts }) => doubts), ...ofBases],
    references: found.map(({ references }) => mayHoldRecipients(references)),
    parts,
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

/** By which attributes too many entries are looked through is found out for each of them. */
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

/** Of a domain controller that has just started, or joined: it lacks what others have. */
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

/** What is found below one base. */
interface BaseProof {
  /** By their place. */
  readonly attributes: readonly BaseFinding[]
  readonly filter: Doubt | undefined
}

/** Below a base that the server does not search. */
const UNSEARCHED: BaseProof = { attributes: [], filter: undefined }

/** What is known of the server. */
interface Known {
  readonly used: readonly Named[]
  readonly schema: Schema | undefined
  /** Attributes of the filter. */
  readonly filterNames: readonly string[]
  /** undefined where hidden attributes are found by searching. */
  readonly rights: AccountRights | undefined
}

async function proofOf(
  search: BaseSearch,
  { used, schema, filterNames, rights }: Known,
): Promise<BaseProof> {
  const [findings, filter] = await Promise.all([
    Promise.all(
      used.map(({ configured, type }) =>
        new AttributeProof(search, configured, type, schema).run(),
      ),
    ),
    hiddenFromFilter(search, filterNames),
  ])
  const shown = used.flatMap((one, i) => {
    const { doubt, isHeld } = findings[i] as BaseFinding
    return doubt && !doubt.isOfSearches ? [] : [{ name: nameOf(one), isHeld }]
  })
  const names = shown.map(({ name }) => name)
  const sound = used.filter((_, i) => !findings[i]?.doubt).map(nameOf)
  const [hidden, byRights, notIndexed] = await Promise.all([
    hiddenAttributes(search, names),
    rights && hiddenByRights(search, rights, shown, filter ? [] : filterNames),
    missingFromIndex(search, sound),
  ])
  const attributes = findings.map((finding, i) => {
    const name = nameOf(used[i] as Named)
    const doubt = hidden.get(name) ?? byRights?.attributes.get(name) ?? notIndexed.get(name)
    return doubt ? { ...finding, doubt } : finding
  })
  return { attributes, filter: filter ?? byRights?.filter }
}

/** An attribute of the settings, as this server knows it. */
interface Named {
  readonly configured: string
  readonly type: AttributeType | undefined
}

const nameOf = ({ configured, type }: Named) => type?.name ?? configured

function findingOf(attribute: string, ofBases: readonly BaseFinding[]): AttributeFinding {
  const doubts = new Map(ofBases.flatMap(({ doubt }) => (doubt ? [[doubt.text, doubt]] : [])))
  return {
    attribute,
    doubts: [...doubts.values()],
    isHeld: ofBases.some(({ isHeld }) => isHeld),
    caseRule: ofBases.find(({ caseRule }) => caseRule)?.caseRule,
  }
}

/** Below which nobody is shown, and nothing says that anybody would be: others do not vouch for them. */
function bareBases(bases: readonly string[], proofs: readonly BaseProof[]): Doubt[] {
  // Of a single one that is found out by whoever asks.
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

// Active Directory may evaluate a filter as if an entry did not have an attribute that the account may
// not read, so no search shows that it is hidden. The entry's access rules do show it, and by default
// every account may read them.

import { GLOBAL_CATALOG_PORTS } from '../../ldap/active-directory'
import type { Connection } from '../../ldap/connection'
import type { Entry } from '../../ldap/entry'
import { and, equals, not, or, present } from '../../ldap/filter'
import { type RootDse, valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import { mayRead, type ProtectedAttribute, RULES_ALONE } from '../../ldap/security-descriptor'
import type { BaseSearch, Doubt } from './base-search'
import { baseName } from './entry-addresses'
import { type ListDefinition, matching } from './list-definition'

/** How many entries have their rules checked. With Exchange, rules are large. */
const LOOKED_AT = 200
/** How many entries that show an attribute are read; their rules must say that the account may read it. */
const SHOWN = 20
const RULES = 'nTSecurityDescriptor'
/** Bits of searchFlags (MS-ADTS 2.2.9): readable with Control Access only; not replicated to the server below. */
const CONFIDENTIAL = 128
const FILTERED = 512
/** A capability: a read-only domain controller. */
const READ_ONLY = '1.2.840.113556.1.4.1920'

/** A person without a visible address may have a hidden one; computers are persons, too. */
const PERSON = and(equals('objectClass', 'person'), not(equals('objectClass', 'computer')))

/** What an Active Directory server says about this account and about attributes. */
export interface AccountRights {
  /** The account's own SID and those of its groups, in hexadecimal; empty if the server does not say. */
  readonly sids: ReadonlySet<string>
  /** By name in lower case. */
  readonly attributes: ReadonlyMap<string, ProtectedAttribute>
  /** Why this server holds no values of an attribute that others hold, by its name in lower case. */
  readonly notHeld: ReadonlyMap<string, string>
}

/**
 * @param names attribute names, as in the schema
 * @param patience milliseconds for each search
 * @throws DirectoryError if there is no answer
 */
export async function readAccountRights(
  connection: Connection,
  { capabilities }: Pick<RootDse, 'capabilities'>,
  { bases }: ListDefinition,
  names: readonly string[],
  patience: number,
): Promise<AccountRights> {
  const read = async (
    base: string,
    scope: 0 | 2,
    filter: Buffer,
    attributes: readonly string[],
  ) => {
    const search = searchRequest({ base, scope, filter, attributes: attributeList(attributes) })
    return (await connection.search(search, patience)).entries
  }
  const asked = ['tokenGroups', 'schemaNamingContext']
  const [root] = await read('', SCOPE.base, present('objectClass'), asked)
  const schema = valuesOf(root, 'schemaNamingContext')[0]?.toString('utf8')
  const described =
    schema && names.length > 0
      ? await read(
          schema,
          SCOPE.subtree,
          or(...names.map((name) => equals('lDAPDisplayName', name))),
          [
            ...['lDAPDisplayName', 'schemaIDGUID', 'attributeSecurityGUID'],
            ...['searchFlags', 'isMemberOfPartialAttributeSet'],
          ],
        )
      : []
  const isCatalog = GLOBAL_CATALOG_PORTS.has(connection.port ?? 0) || bases.includes('')
  const isReadOnly = capabilities.has(READ_ONLY)
  const whyNotHeld = (entry: Entry): string | undefined => {
    if (isCatalog && textOf(entry, 'isMemberOfPartialAttributeSet') !== 'TRUE') {
      return 'it is not marked for the Global Catalog, so nobody is found by it: mark it'
    }
    if (!isReadOnly || (searchFlagsOf(entry) & FILTERED) === 0) return undefined
    return 'read-only domain controllers do not hold it, so nobody is found by it: ask another one'
  }
  return {
    sids: new Set(valuesOf(root, 'tokenGroups').map((sid) => sid.toString('hex'))),
    attributes: new Map(described.map((entry) => [nameOf(entry), protectedAttribute(entry)])),
    notHeld: new Map(
      described.flatMap((entry) => {
        const why = whyNotHeld(entry)
        return why === undefined ? [] : [[nameOf(entry), why]]
      }),
    ),
  }
}

const textOf = (entry: Entry, name: string) => valuesOf(entry, name)[0]?.toString('utf8')
const searchFlagsOf = (entry: Entry) => Number(textOf(entry, 'searchFlags') ?? 0)
const nameOf = (entry: Entry) => textOf(entry, 'lDAPDisplayName')?.toLowerCase() ?? ''

function protectedAttribute(entry: Entry): ProtectedAttribute {
  const guids = ['schemaIDGUID', 'attributeSecurityGUID'].flatMap((name) => valuesOf(entry, name))
  return {
    guids: new Set(guids.map((guid) => guid.toString('hex'))),
    isConfidential: (searchFlagsOf(entry) & CONFIDENTIAL) !== 0,
  }
}

/** What is hidden below one base. */
export interface HiddenByRights {
  /** Doubts by address attribute: a hidden value finds nobody. */
  readonly attributes: ReadonlyMap<string, Doubt>
  /** Entries that hide an attribute of the filter may match, and are left out. */
  readonly filter: Doubt | undefined
}

/** An address attribute, by the name that the server knows; `isHeld` if some entry shows it. */
interface Shown {
  readonly name: string
  readonly isHeld: boolean
}

/**
 * @param filterNames the filter's attributes that the server knows
 * @throws DirectoryError if there is no answer
 */
export async function hiddenByRights(
  search: BaseSearch,
  rights: AccountRights,
  shown: readonly Shown[],
  filterNames: readonly string[],
): Promise<HiddenByRights> {
  const attributes = new Map<string, Doubt>()
  for (const { name, isHeld } of shown) {
    const why = rights.notHeld.get(name.toLowerCase())
    if (why !== undefined && !isHeld) attributes.set(name, search.doubt(name, why))
  }
  const held = shown.filter(({ isHeld }) => isHeld).map(({ name }) => name)
  if (!(await rulesAreUnderstood(search, rights, held))) return { attributes, filter: undefined }
  for (const { name } of shown.filter(({ name }) => !attributes.has(name))) {
    const doubt = await addressHidden(search, rights, name)
    if (doubt) attributes.set(name, doubt)
  }
  return { attributes, filter: await filterHidden(search, rights, filterNames) }
}

async function addressHidden(
  search: BaseSearch,
  rights: AccountRights,
  name: string,
): Promise<Doubt | undefined> {
  const { list } = search
  const recipients = matching(list, or(...list.attributes.map(present), PERSON))
  const dn = await hiding(search, rights, name, and(recipients, not(present(name))))
  if (dn === undefined) return undefined
  const isConfidential = rights.attributes.get(name.toLowerCase())?.isConfidential
  const beside = isConfidential ? ', and since it is confidential, Control Access to it' : ''
  return search.hidden(name, dn, 'it has it', `read it on all entries${beside}`)
}

async function filterHidden(
  search: BaseSearch,
  rights: AccountRights,
  names: readonly string[],
): Promise<Doubt | undefined> {
  const { filter, attributes } = search.list
  if (!filter) return undefined
  const others = and(or(...attributes.map(present)), not(filter))
  for (const name of names) {
    const dn = await hiding(search, rights, name, and(others, not(present(name))))
    if (dn !== undefined)
      return search.hidden('filter', dn, 'it matches', `read ${name} on all entries`)
  }
  return undefined
}

/**
 * Rules are complex. Entries that show an attribute tell whether their rules are interpreted correctly here;
 * if not, rules prove nothing.
 *
 * @param names attributes that some entry shows
 */
async function rulesAreUnderstood(
  search: BaseSearch,
  rights: AccountRights,
  names: readonly string[],
): Promise<boolean> {
  let count = 0
  for (const name of names) {
    const attribute = rights.attributes.get(name.toLowerCase())
    if (!attribute) continue
    const filter = matching(search.list, present(name))
    const entries = await search.findWith(RULES_ALONE, filter, [RULES, name], SHOWN)
    const shows = ({ attributes }: Entry) =>
      attributes.some(({ type }) => baseName(type) === name.toLowerCase())
    const showing = entries.filter((one) => shows(one) && valuesOf(one, RULES).length > 0)
    if (showing.some((one) => !isReadable(one, rights.sids, attribute))) return false
    count += showing.length
  }
  return count > 0
}

/** @returns the DN of an entry that hides the attribute, among those that match */
async function hiding(
  search: BaseSearch,
  { sids, attributes }: AccountRights,
  name: string,
  filter: Buffer,
): Promise<string | undefined> {
  const attribute = attributes.get(name.toLowerCase())
  if (!attribute || sids.size === 0) return undefined
  const entries = await search.findWith(RULES_ALONE, filter, [RULES], LOOKED_AT)
  return entries.find((one) => !isReadable(one, sids, attribute))?.dn
}

/** An entry without visible rules, or with malformed ones, does not count as hiding anything. */
function isReadable(entry: Entry, sids: ReadonlySet<string>, attribute: ProtectedAttribute) {
  const [descriptor] = valuesOf(entry, RULES)
  if (!descriptor) return true
  try {
    return mayRead(descriptor, sids, attribute)
  } catch {
    return true
  }
}

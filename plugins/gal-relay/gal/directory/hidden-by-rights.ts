// Active Directory may evaluate a filter as if an entry had no attribute that the account may not read: no
// search tells that it is hidden. The entry's own rules do, which every account may read by default.

import type { Connection } from '../../ldap/connection'
import { printable } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { and, equals, not, or, present } from '../../ldap/filter'
import { valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import { mayRead, type ProtectedAttribute, RULES_ALONE } from '../../ldap/security-descriptor'
import { aboutBase, type BaseSearch, type Doubt } from './base-search'
import { type ListDefinition, matching } from './list-definition'

/** Entries of which the rules are looked at; with Exchange they are large. */
const LOOKED_AT = 200
const RULES = 'nTSecurityDescriptor'
/** A bit of searchFlags (MS-ADTS 2.2.9). */
const CONFIDENTIAL = 128
const GLOBAL_CATALOG_PORTS = new Set([3268, 3269])

/** A person without a visible address may have a hidden one; computers are persons there, too. */
const PERSON = and(equals('objectClass', 'person'), not(equals('objectClass', 'computer')))

/** What one server of Active Directory says of this account and of attributes. */
export interface AccountRights {
  /** What the account is, in hexadecimal digits; empty where that is not told. */
  readonly sids: ReadonlySet<string>
  /** By their names in lower case. */
  readonly attributes: ReadonlyMap<string, ProtectedAttribute>
  /** Names in lower case: the connection shows them of no entry. */
  readonly notInCatalog: ReadonlySet<string>
}

/**
 * @param names of attributes, as the schema has them
 * @param patience milliseconds for each search
 * @throws DirectoryError when no answer came
 */
export async function readAccountRights(
  connection: Connection,
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
  const outside = described.filter(
    (entry) => isCatalog && textOf(entry, 'isMemberOfPartialAttributeSet') !== 'TRUE',
  )
  return {
    sids: new Set(valuesOf(root, 'tokenGroups').map((sid) => sid.toString('hex'))),
    attributes: new Map(described.map((entry) => [nameOf(entry), protectedAttribute(entry)])),
    notInCatalog: new Set(outside.map(nameOf)),
  }
}

const textOf = (entry: Entry, name: string) => valuesOf(entry, name)[0]?.toString('utf8')
const nameOf = (entry: Entry) => textOf(entry, 'lDAPDisplayName')?.toLowerCase() ?? ''

function protectedAttribute(entry: Entry): ProtectedAttribute {
  const guids = ['schemaIDGUID', 'attributeSecurityGUID'].flatMap((name) => valuesOf(entry, name))
  return {
    guids: new Set(guids.map((guid) => guid.toString('hex'))),
    isConfidential: (Number(textOf(entry, 'searchFlags') ?? 0) & CONFIDENTIAL) !== 0,
  }
}

/**
 * Attributes of addresses: by what they hide nobody is found.
 *
 * @param list with the names that the server knows
 * @param attributes those of the list that are looked at
 * @param isHeld some entry shows it
 * @returns by attribute
 * @throws DirectoryError when no answer came
 */
export async function hiddenByRights(
  search: BaseSearch,
  list: ListDefinition,
  rights: AccountRights,
  attributes: readonly { readonly name: string; readonly isHeld: boolean }[],
): Promise<Map<string, Doubt>> {
  const recipients = matching(list, or(...list.attributes.map(present), PERSON))
  const hidden = new Map<string, Doubt>()
  const doubt = (name: string, what: string) =>
    hidden.set(name, {
      isOfSearches: false,
      text: aboutBase(list, search.base, name, what),
    })
  for (const { name, isHeld } of attributes) {
    if (!isHeld && rights.notInCatalog.has(name.toLowerCase())) {
      doubt(name, 'it is not marked for the Global Catalog, so nobody is found by it: mark it')
      continue
    }
    const dn = await hiding(search, rights, name, and(recipients, not(present(name))))
    if (dn === undefined) continue
    const isConfidential = rights.attributes.get(name.toLowerCase())?.isConfidential
    const beside = isConfidential ? ', and since it is confidential, Control Access to it' : ''
    const right = `grant it the right to read it on all entries${beside}`
    doubt(name, `${printable(dn)} does not tell this account whether it has it: ${right}`)
  }
  return hidden
}

/**
 * Attributes of the filter: an entry that hides one is not among the list's though it may match.
 *
 * @param attributes those of the filter that the server knows
 * @throws DirectoryError when no answer came
 */
export async function filterHiddenByRights(
  search: BaseSearch,
  list: ListDefinition,
  rights: AccountRights,
  attributes: readonly string[],
): Promise<Doubt | undefined> {
  const { filter } = list
  if (!filter) return undefined
  const others = and(or(...list.attributes.map(present)), not(filter))
  for (const name of attributes) {
    const dn = await hiding(search, rights, name, and(others, not(present(name))))
    if (dn === undefined) continue
    const what = `${printable(dn)} does not tell this account whether it matches`
    const text = `${what}: grant it the right to read ${name} on all entries`
    return { isOfSearches: false, text: aboutBase(list, search.base, 'filter', text) }
  }
  return undefined
}

/** @returns the DN of an entry that may have this attribute and hides it, among those that match */
async function hiding(
  { base, options: { connection, list, patience } }: BaseSearch,
  { sids, attributes }: AccountRights,
  name: string,
  filter: Buffer,
): Promise<string | undefined> {
  const attribute = attributes.get(name.toLowerCase())
  if (!attribute || sids.size === 0) return undefined
  const search = searchRequest({
    ...{ base, scope: SCOPE.subtree, dereference: list.dereference, filter },
    ...{ attributes: attributeList([RULES]), sizeLimit: LOOKED_AT },
    seconds: Math.ceil(patience / 1000),
  })
  const entries: Entry[] = []
  const entry = (one: Entry) => void entries.push(one)
  await connection.stream(search, { entry }, { controls: [RULES_ALONE], patience }).result
  return entries.find((one) => !isReadable(one, sids, attribute))?.dn
}

/** What it does not tell, or cannot be understood, says nothing. */
function isReadable(entry: Entry, sids: ReadonlySet<string>, attribute: ProtectedAttribute) {
  const [descriptor] = valuesOf(entry, RULES)
  if (!descriptor) return true
  try {
    return mayRead(descriptor, sids, attribute)
  } catch {
    return true
  }
}

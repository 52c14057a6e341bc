// The attributes that a server knows (RFC 4512 §4.1.2): their names and how their values compare.
// Active Directory describes its attributes without their matching rules; there, all attributes
// that can hold an address compare without case.
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Connection } from './connection'
import { equals } from './filter'
import { type RootDse, valuesOf } from './root-dse'
import { attributeList, SCOPE, searchRequest } from './search-request'

export interface AttributeType {
  /** The name that the server uses in answers. */
  readonly name: string
  /** The names in an answer to a request for this attribute: its own, and those derived from it. */
  readonly shownAs: readonly string[]
  /** The matching rule of equality searches; `undefined` if none is named. */
  readonly equality: string | undefined
  /** The OID of the syntax; `undefined` if the attribute inherits its superior's. */
  readonly syntax: string | undefined
}

export interface Schema {
  /** Whether the schema names matching rules. */
  readonly tellsRules: boolean
  /** @param name any of its names, in any case, or its OID */
  find(name: string): AttributeType | undefined
}

interface Description {
  readonly oid: string
  readonly names: readonly string[]
  readonly superior: string | undefined
  readonly equality: string | undefined
  readonly syntax: string | undefined
}

/** Real attributes derive from each other in a few steps only. */
const MOST_SUPERIORS = 20

/**
 * @param timeout milliseconds; schemas are large
 * @returns `undefined` if the server does not show its schema
 * @throws DirectoryError if no answer came
 */
export async function readSchema(
  connection: Connection,
  { subschema }: RootDse,
  timeout: number,
): Promise<Schema | undefined> {
  if (!subschema) return undefined
  const search = searchRequest({
    base: subschema,
    scope: SCOPE.base,
    filter: equals('objectClass', 'subschema'),
    attributes: attributeList(['attributeTypes']),
  })
  const { entries } = await connection.search(search, timeout)
  const values = valuesOf(entries[0], 'attributeTypes')
  if (values.length === 0) return undefined
  const hash = createHash('sha256')
  for (const value of values) hash.update(value)
  const digest = hash.digest('base64')
  const schema = RECENT.get(digest) ?? schemaOf(values.map((value) => value.toString('utf8')))
  RECENT.set(digest, schema)
  return schema
}

/**
 * By digest. A schema is read often and seldom changes, many directories have the same one, and parsing it
 * takes milliseconds.
 */
const RECENT = new LRUCache<string, Schema>({ max: 4 })

/** @param texts attribute type descriptions */
function schemaOf(texts: readonly string[]): Schema {
  const byName = new Map<string, Description>()
  for (const text of texts) {
    const description = described(text)
    for (const name of [description.oid, ...description.names]) {
      if (name) byName.set(name.toLowerCase(), description)
    }
  }
  const equalityOf = (description: Description | undefined, steps = 0): string | undefined => {
    if (!description || description.equality || steps > MOST_SUPERIORS) return description?.equality
    return equalityOf(byName.get(description.superior?.toLowerCase() ?? ''), steps + 1)
  }
  const bySuperior = new Map<Description, Description[]>()
  for (const description of new Set(byName.values())) {
    const superior = byName.get(description.superior?.toLowerCase() ?? '')
    if (superior) bySuperior.set(superior, [...(bySuperior.get(superior) ?? []), description])
  }
  const derivedFrom = (description: Description, found = new Set<Description>()) => {
    if (found.has(description)) return found
    found.add(description)
    for (const one of bySuperior.get(description) ?? []) derivedFrom(one, found)
    return found
  }
  return {
    tellsRules: [...byName.values()].some(({ equality }) => equality !== undefined),
    find(name) {
      const description = byName.get(name.toLowerCase())
      if (!description) return undefined
      const shownAs = [...derivedFrom(description)].map(nameOf)
      const { syntax } = description
      return { name: nameOf(description), shownAs, equality: equalityOf(description), syntax }
    },
  }
}

const nameOf = ({ names, oid }: Description) => names[0] ?? oid

function described(text: string): Description {
  const [, one, several] = /\sNAME\s+(?:'([^']+)'|\(([^)]*)\))/.exec(text) ?? []
  const names = one ? [one] : Array.from(several?.matchAll(/'([^']+)'/g) ?? [], ([, n = '']) => n)
  return {
    oid: /^\(\s*'?([\w.-]+)/.exec(text)?.[1] ?? '',
    names,
    superior: /\sSUP\s+'?([\w.-]+)/.exec(text)?.[1],
    equality: /\sEQUALITY\s+'?([\w.-]+)/.exec(text)?.[1],
    syntax: /\sSYNTAX\s+'?([\d.]+)/.exec(text)?.[1],
  }
}

// Small directories as they might be somewhere, made at random, and who is in them. What is true is
// worked out from the pieces that a directory is made of, never read out of it and never by the code
// under test.
import fc from 'fast-check'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import type { SlapdEntry, SlapdOptions } from '../support/slapd'

export const TOP = 'dc=corp,dc=test'
/** On another server, where referral objects lead. */
export const CHILD = 'o=child,dc=corp,dc=test'
const DOMAIN = 'example.com'

/** How values of an attribute compare: without case, with it, or not at all. */
interface Kind {
  /** Its name, synonym and OID. */
  readonly names: readonly string[]
  readonly isSearchable: boolean
  /** Entries show and find it under these attributes too. */
  readonly superior?: string
  readonly forms: readonly string[]
  /** What precedes values that are no mail addresses. */
  readonly decoys: readonly string[]
}

const ANY_TYPE = ['', 'smtp:', 'SMTP:']
const OTHER_TYPES = ['X400:', 'sip:', 'x500:', 'EUM:']
const OID = '1.3.6.1.4.1.4203.666.1.8'
const kind = (names: readonly string[], more: Partial<Kind> = {}): Kind => ({
  ...{ names, isSearchable: true, forms: ANY_TYPE, decoys: OTHER_TYPES },
  ...more,
})

const KINDS = {
  mail: kind(['mail', 'rfc822Mailbox', '0.9.2342.19200300.100.1.3'], { forms: [''], decoys: [] }),
  proxyAddresses: kind(['proxyAddresses', 'PROXYADDRESSES', '1.2.840.113556.1.2.210']),
  otherMailbox: kind(['otherMailbox'], {
    forms: [...ANY_TYPE, 'smtp$', 'SMTP$'],
    decoys: [...OTHER_TYPES, 'ms$', 'x400$'],
  }),
  alias: kind(['alias', 'aliasAddress', `${OID}01`]),
  noRule: kind(['noRule', `${OID}02`], { isSearchable: false }),
  exact: kind(['exact', 'Exact', `${OID}03`]),
  derived: kind(['derived', `${OID}04`], { superior: 'exact' }),
  exactText: kind(['exactText', `${OID}05`]),
} as const satisfies Record<string, Kind>
type KindName = keyof typeof KINDS
const KIND_NAMES = Object.keys(KINDS) as KindName[]

const SCHEMA = [
  `attributetype ( ${OID}01 NAME ( 'alias' 'aliasAddress' ) EQUALITY caseIgnoreIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( ${OID}02 NAME 'noRule' SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( ${OID}03 NAME 'exact' EQUALITY caseExactIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( ${OID}04 NAME 'derived' SUP exact )`,
  `attributetype ( ${OID}05 NAME 'exactText' EQUALITY caseExactMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )`,
  `objectclass ( 1.3.6.1.4.1.4203.666.3.801 NAME 'aliased' SUP top AUXILIARY
  MAY ( alias $ noRule $ exact $ derived $ exactText ) )`,
]

const UNITS = {
  a: `ou=a,${TOP}`,
  sub: `ou=sub,ou=a,${TOP}`,
  b: `ou=b,${TOP}`,
  away: `ou=away,${TOP}`,
} as const
type Unit = keyof typeof UNITS

/** Where look-ups search. */
const BASES: readonly (readonly string[])[] = [
  [TOP],
  [UNITS.a],
  [UNITS.a, UNITS.b],
  [UNITS.b, UNITS.sub],
  [UNITS.a, UNITS.sub],
]

/** What everybody may do with an attribute, besides what slapd calls it. */
const RIGHTS = { hidden: 'none', searched: 'search', read: '=rd' } as const

interface Value {
  readonly kind: KindName
  /** Plain, in any case. */
  readonly local: string
  /** Makes it one of its own, unless somebody else has the same. */
  readonly number: number
  readonly form: number
  readonly isDecoy: boolean
  /** Quotes, where it needs them. */
  readonly isQuoted: boolean
  readonly option: '' | ';lang-de'
}

interface Person {
  readonly unit: Unit
  readonly values: readonly Value[]
  readonly isStaff: boolean
}

export interface RandomDirectory {
  readonly people: readonly Person[]
  readonly attributes: readonly { readonly kind: KindName; readonly name: number }[]
  /** A name that no server knows is among them. */
  readonly isMistyped: boolean
  readonly bases: readonly string[]
  readonly isFiltered: boolean
  readonly rights: readonly {
    readonly kind: KindName
    readonly right: keyof typeof RIGHTS
    readonly isOnlyInB: boolean
  }[]
  readonly isSchemaHidden: boolean
  readonly referral: Unit | undefined
  readonly isFollowed: boolean
  /** Alias objects: for a person, or for all who are away. */
  readonly aliases: readonly { readonly unit: 'a' | 'b'; readonly person: number | undefined }[]
  readonly dereference: LdapSettings['dereference']
  readonly sizeLimit: number | undefined
}

const LOCALS = [
  ...['ann', 'Bob', 'x.y', "o'neil", 'a+b', 'MiXed', 'star*', 'par(en)', 'dollar$', 'and&=#'],
  ...['jo doe', 'q"uote', 'back\\slash', 'at@sign', 'a,b', 'two..dots'],
]

const unit = fc.constantFrom<Unit>('a', 'sub', 'b', 'away')
/** Most have no trouble, or one. */
const kindName = fc.oneof(
  { weight: 1, arbitrary: fc.constant<KindName>('noRule') },
  { weight: 14, arbitrary: fc.constantFrom(...KIND_NAMES.filter((name) => name !== 'noRule')) },
)
const seldom = fc.integer({ min: 0, max: 11 }).map((n) => n === 11)
const rarely = fc.integer({ min: 0, max: 5 }).map((n) => n === 5)
const value: fc.Arbitrary<Value> = fc.record({
  kind: kindName,
  local: fc.constantFrom(...LOCALS),
  number: fc.integer({ min: 0, max: 9 }),
  form: fc.nat(20),
  isDecoy: rarely,
  isQuoted: fc.boolean(),
  option: fc.constantFrom('', '', '', ';lang-de'),
})
const person: fc.Arbitrary<Person> = fc.record({
  unit,
  values: fc.array(value, { minLength: 1, maxLength: 4 }),
  isStaff: rarely.map((not) => !not),
})

const anyDirectory: fc.Arbitrary<RandomDirectory> = fc.record({
  people: fc.array(person, { minLength: 4, maxLength: 10 }),
  attributes: fc.uniqueArray(fc.record({ kind: kindName, name: fc.nat(2) }), {
    selector: ({ kind }) => kind,
    minLength: 1,
    maxLength: 4,
  }),
  isMistyped: seldom,
  bases: fc.constantFrom(...BASES),
  isFiltered: rarely,
  rights: fc.oneof(
    fc.constant([]),
    fc.constant([]),
    fc.array(
      fc.record({
        kind: kindName,
        right: fc.constantFrom('hidden', 'searched', 'read'),
        isOnlyInB: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
  ),
  isSchemaHidden: seldom,
  referral: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: unit },
  ),
  isFollowed: fc.boolean(),
  aliases: fc.array(
    fc.record({
      unit: fc.constantFrom('a', 'b'),
      person: fc.oneof(fc.constant(undefined), fc.nat(7)),
    }),
    { maxLength: 2 },
  ),
  dereference: fc.constantFrom('never', 'search', 'find', 'always'),
  sizeLimit: fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom(1, 3) },
  ),
})

/** Most values, and all rights, are of attributes that are asked for: the others matter little. */
export const randomDirectory = anyDirectory.map((directory): RandomDirectory => {
  const { attributes, people, rights } = directory
  const asked = (place: number, name: KindName) =>
    attributes[place % attributes.length]?.kind ?? name
  return {
    ...directory,
    people: people.map((one) => ({
      ...one,
      values: one.values.map((value, i) =>
        i > 1 ? value : { ...value, kind: asked(value.number + i, value.kind) },
      ),
    })),
    rights: rights.map((right, i) => ({ ...right, kind: asked(i, right.kind) })),
  }
})

/** In the settings, which is not all that the server has. */
const isConfigured = ({ attributes }: RandomDirectory, name: KindName): boolean => {
  const { superior } = KINDS[name] as Kind
  return attributes.some(({ kind }) => kind === name || kind === superior)
}

/** In the settings under the name by which entries show it, which need not be known then. */
const isShownAsNamed = ({ attributes }: RandomDirectory, name: KindName): boolean => {
  // Entries show the one where the other is asked for.
  if (name === 'exact' || name === 'derived') return false
  return attributes.some(
    (one) => one.kind === name && nameOf(one).toLowerCase() === name.toLowerCase(),
  )
}

const nameOf = ({ kind, name }: RandomDirectory['attributes'][number]): string => {
  const { names }: Kind = KINDS[kind]
  return names[name % names.length] ?? kind
}

const STAFF = '(employeeType=staff)'

export function settingsOf(
  directory: RandomDirectory,
  child: number,
): { readonly gal: Partial<GalSettings>; readonly ldap: Partial<LdapSettings> } {
  const { attributes, isMistyped, isFiltered, bases, isFollowed, dereference } = directory
  const names = attributes.map(nameOf)
  return {
    gal: {
      attributes: isMistyped ? [...names, 'mailAdress'] : names,
      ...(isFiltered ? { filter: STAFF } : {}),
    },
    ldap: {
      base: [...bases],
      dereference,
      ...(isFollowed && child > 0 ? { referrals: 'follow', referral_hosts: ['127.0.0.1'] } : {}),
    },
  }
}

// ── The server's side ────────────────────────────────────────────────────────────────────────────

const noPerson = { cn: undefined, sn: undefined }
const unitEntry = (dn: string): SlapdEntry => ({
  ...{ dn, objectClass: 'organizationalUnit', ou: /^ou=(\w+)/.exec(dn)?.[1] ?? '' },
  ...noPerson,
})
const classes = ['inetOrgPerson', 'galRecipient', 'aliased']

/** @param child the port where the child is */
export function slapdOptions(directory: RandomDirectory, child: number): SlapdOptions {
  const { people, rights, isSchemaHidden, referral, aliases, sizeLimit } = directory
  const hiddenSchema = ['access to dn.base="cn=Subschema" by * none', 'access to * by * read']
  return {
    schema: [...SCHEMA, ...(isSchemaHidden ? hiddenSchema : [])],
    access: rights.map(({ kind, right, isOnlyInB }) => {
      const where = isOnlyInB ? `dn.subtree="${UNITS.b}" ` : ''
      return `access to ${where}attrs=${kind} by * ${RIGHTS[right]}`
    }),
    ...(sizeLimit ? { limits: { size: sizeLimit } } : {}),
    entries: [
      ...Object.values(UNITS).map(unitEntry),
      ...people.map((one, i) => personEntry(one, i)),
      ...(referral ? [referralEntry(UNITS[referral], child)] : []),
      ...aliases.map(({ unit, person }, i) => aliasEntry(people, UNITS[unit], person, i)),
    ],
  }
}

function personEntry({ unit, values, isStaff }: Person, i: number): SlapdEntry {
  const attributes: Record<string, string[]> = {}
  for (const one of values) {
    const name = one.kind + one.option
    const texts = attributes[name] ?? []
    attributes[name] = texts
    const text = storedAs(one)
    if (!texts.some((other) => other.toLowerCase() === text.toLowerCase())) texts.push(text)
  }
  const employeeType = isStaff ? 'staff' : 'guest'
  return { dn: dnOf(unit, i), objectClass: classes, employeeType, ...attributes }
}

const dnOf = (unit: Unit, i: number) => `cn=p${i},${UNITS[unit]}`

function referralEntry(dn: string, child: number): SlapdEntry {
  const ref = `ldap://127.0.0.1:${child}/${CHILD}??sub`
  const objectClass = ['referral', 'extensibleObject']
  return { dn: `ou=referral,${dn}`, objectClass, ou: 'referral', ref, ...noPerson }
}

function aliasEntry(
  people: readonly Person[],
  dn: string,
  person: number | undefined,
  i: number,
): SlapdEntry {
  return {
    ...{ dn: `ou=alias${i},${dn}`, objectClass: ['alias', 'extensibleObject'], ou: `alias${i}` },
    aliasedObjectName: aliased(people, person),
    ...noPerson,
  }
}

function aliased(people: readonly Person[], person: number | undefined): string {
  const one = person === undefined ? undefined : people[person]
  return one ? dnOf(one.unit, person ?? 0) : UNITS.away
}

/** Somebody who has every attribute, each with another address. */
export const CHILD_OPTIONS: SlapdOptions = {
  suffix: CHILD,
  schema: SCHEMA,
  entries: [
    {
      ...{ dn: `cn=kim,${CHILD}`, objectClass: classes, employeeType: 'staff' },
      ...Object.fromEntries(KIND_NAMES.map((name) => [name, `kim.${name}@${DOMAIN}`])),
    },
  ],
}

const isAddress = ({ isDecoy, kind }: Value) => !isDecoy || KINDS[kind].decoys.length === 0
const localOf = ({ local, number }: Value) => `${local}${number}`

function storedAs(one: Value): string {
  const { forms, decoys }: Kind = KINDS[one.kind]
  const types = isAddress(one) ? forms : decoys
  const local = localOf(one)
  return `${types[one.form % types.length]}${one.isQuoted ? quoted(local) : local}@${DOMAIN}`
}

const needsQuotes = (local: string) =>
  !/^[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*$/.test(local)
const quoted = (local: string) => `"${local.replace(/["\\]/g, '\\$&')}"`

// ── What is true ─────────────────────────────────────────────────────────────────────────────────

export interface Truth {
  /** An address of the directory, which no answer may deny. */
  readonly valid: ReadonlySet<string>
  /** Hidden so that it is as good as not there, but found if another attribute leads to its entry. */
  readonly hidden: ReadonlySet<string>
  /** Those of them that are there for everybody to find: nothing hides or defers them. */
  readonly plain: ReadonlySet<string>
  /** Whether all can be searched, so that who is unknown can be said to be so. */
  readonly isProvable: boolean
  /** The same, and the list in memory has all of them. */
  readonly isWhole: boolean
  /** The plain ones and some that nobody has: local parts, plain and in lower case. */
  readonly asked: readonly string[]
}

const within = (dn: string, base: string) => dn === base || dn.endsWith(`,${base}`)

export function truthOf(directory: RandomDirectory, isFollowed: boolean): Truth {
  const { people, bases, isFiltered, dereference, aliases, rights, referral, isMistyped } =
    directory
  const follows = dereference === 'search' || dereference === 'always'
  const inBases = (dn: string) => bases.some((base) => within(dn, base))
  const reachedBelow = (base: string) =>
    aliases
      .filter(({ unit }) => follows && within(UNITS[unit], base))
      .map(({ person }) => aliased(people, person))
  const reached = bases.flatMap(reachedBelow)
  const isSearched = (dn: string) => inBases(dn) || reached.some((top) => within(dn, top))
  const valid = new Set<string>()
  const hidden = new Set<string>()
  const plain = new Set<string>()
  const asked = new Set<string>(['nobody', 'postman', 'kim.kim'])
  const isFree = (name: KindName) =>
    KINDS[name].isSearchable &&
    // A right to an attribute is one to those that derive from it.
    !rights.some(({ kind }) => kind === name || kind === (KINDS[name] as Kind).superior) &&
    (!directory.isSchemaHidden || isShownAsNamed(directory, name))
  // Hidden on some of the entries below a base, and shown on others: an entry that shows no other attribute
  // is as good as none, and a limit hides as well.
  const isHiddenInPart = (dn: string, name: KindName) =>
    within(dn, UNITS.b) &&
    bases.some(
      (base) =>
        within(dn, base) && [base, ...reachedBelow(base)].some((top) => !within(top, UNITS.b)),
    ) &&
    rights.some(
      ({ kind, isOnlyInB }) =>
        isOnlyInB && (kind === name || kind === (KINDS[name] as Kind).superior),
    )
  const isShownBeside = (other: KindName, name: KindName) =>
    other !== name &&
    ![other, name].every((one) => one === 'exact' || one === 'derived') &&
    isConfigured(directory, other) &&
    isFree(other) &&
    directory.sizeLimit === undefined
  for (const [i, { unit, values, isStaff }] of people.entries()) {
    const dn = dnOf(unit, i)
    for (const one of values) {
      const local = localOf(one).toLowerCase()
      asked.add(local)
      if (!isAddress(one)) continue
      if (!isSearched(dn) || (isFiltered && !isStaff) || !isConfigured(directory, one.kind))
        continue
      const isShown = values.some((other) => isShownBeside(other.kind, one.kind))
      if (isHiddenInPart(dn, one.kind) && !isShown) {
        hidden.add(local)
        continue
      }
      valid.add(local)
      if (isFree(one.kind)) plain.add(local)
    }
  }
  const isReferred = referral !== undefined && isSearched(UNITS[referral])
  for (const name of KIND_NAMES) {
    const local = `kim.${name}`.toLowerCase()
    asked.add(local)
    if (isReferred && isConfigured(directory, name)) valid.add(local)
    const isFound = isReferred && isFollowed && isConfigured(directory, name)
    if (isFound && isFree(name)) plain.add(local)
  }
  // One base says nothing of another.
  const showsSomebody = (base: string) =>
    people.some(({ unit, values, isStaff }, i) => {
      const dn = dnOf(unit, i)
      const isBelow = [base, ...reachedBelow(base)].some((top) => within(dn, top))
      if (!isBelow || (isFiltered && !isStaff)) return false
      return values.some((one) => isAddress(one) && isConfigured(directory, one.kind))
    })
  const isProvable =
    bases.every(showsSomebody) &&
    KIND_NAMES.every((name) => !isConfigured(directory, name) || isFree(name)) &&
    !isMistyped &&
    !(isReferred && !isFollowed) &&
    directory.sizeLimit === undefined
  const isWhole = isProvable && !isReferred
  return { valid, hidden, plain, asked: [...asked], isProvable, isWhole }
}

/** The address as senders may write it: in capitals, in quotes, with backslashes. */
export function writtenAs(local: string, way: number): string {
  if (way % 3 === 1) return `${quoted(local.toUpperCase())}@${DOMAIN}`
  if (way % 3 === 2) return `"${local.replace(/./g, '\\$&')}"@${DOMAIN}`
  return `${needsQuotes(local) ? quoted(local) : local}@${DOMAIN}`
}

const address = (kind: KindName, local: string, number: number): Value => ({
  ...{ kind, local, number, form: 0, option: '' },
  ...{ isDecoy: false, isQuoted: false },
})
const personWith = (...values: Value[]): Person => ({ unit: 'a', values, isStaff: true })

/** Two entries have an address. One hides it, the other has it in a case-sensitive attribute. */
export const HIDDEN_BESIDE_SHOWN: RandomDirectory = {
  people: [
    personWith(address('exactText', 'ann', 0)),
    personWith(address('alias', 'back\\slash', 5), address('alias', 'ann', 0)),
    personWith(address('exact', 'back\\slash', 5), address('mail', 'ann', 0)),
    personWith(address('exactText', 'ann', 0)),
    { ...personWith(address('alias', 'MiXed', 5)), unit: 'b' },
  ],
  attributes: [
    { kind: 'exactText', name: 1 },
    { kind: 'alias', name: 1 },
    { kind: 'exact', name: 0 },
    { kind: 'proxyAddresses', name: 1 },
  ],
  isMistyped: false,
  bases: ['ou=a,dc=corp,dc=test', 'ou=sub,ou=a,dc=corp,dc=test'],
  isFiltered: false,
  rights: [
    { kind: 'exactText', right: 'hidden', isOnlyInB: false },
    { kind: 'alias', right: 'searched', isOnlyInB: false },
  ],
  isSchemaHidden: false,
  referral: undefined,
  isFollowed: false,
  aliases: [],
  dereference: 'never',
  sizeLimit: undefined,
}

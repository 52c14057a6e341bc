// What a server can be searched for, worked out once in a while and not at each look-up. That an
// address is absent may only be said where it would have been found, had it been there: an attribute
// that the server does not know, compares with case, cannot be searched for or hides from this account
// answers every search with success and no entries. So each attribute is proven below each base, by the
// schema and by what entries really show; one that works says nothing of another.

import type { Connection } from '../../ldap/connection'
import { DirectoryError, printable, resultError } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { and, equalsBy, equalsBytes, not, or, present } from '../../ldap/filter'
import { isActiveDirectory, type RootDse, readRootDse } from '../../ldap/root-dse'
import { type AttributeType, readSchema } from '../../ldap/schema'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { Result } from '../../ldap/search-result'
import { AddressSearch, type CaseRule } from './address-search'
import { addressIn, baseName, LEGACY_DN } from './entry-addresses'
import { type ListDefinition, matching } from './list-definition'
import { mayHoldRecipients } from './references'

/** Why an address might be there and not be found. */
export interface Doubt {
  /** Of the look-up alone: whoever reads all entries sees them. */
  readonly isOfSearches: boolean
  /** What is wrong and what to do, for people. */
  readonly text: string
}

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
/** Entries that are looked at. */
const SAMPLE = 20
/** Rules that compare without case, for attributes that compare with it. */
const CASELESS = ['caseIgnoreIA5Match', 'caseIgnoreMatch'] as const
/** Compared with case where no rule is named (389 Directory Server). */
const IA5_STRING = '1.3.6.1.4.1.1466.115.121.1.26'

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
  const attributes = [...new Set(used.map(({ configured, type }) => type?.name ?? configured))]
  const context = { connection, list, patience, attributes, rootDse }
  const searches = new AddressSearch(list, patience).forNobody()
  const [references, proofs] = await Promise.all([
    Promise.all(searches.map((search) => referencesOf(connection, search, patience))),
    Promise.all(
      used.map(({ configured, type }) =>
        proofsOf(context, configured, type, schema !== undefined, schema?.tellsRules ?? false),
      ),
    ),
  ])
  const findings = proofs.map((ofBases, i) => findingOf(used[i]?.configured ?? '', ofBases))
  const ofBases = bareBases(list.bases, proofs)
  return {
    attributes,
    // An attribute that is not there shows nothing; X.500 addresses count in others nevertheless.
    shownAs: types
      .flatMap(({ configured, type }) => type?.shownAs ?? [configured])
      .map((name) => name.toLowerCase()),
    dropped: types.filter((one) => !used.includes(one)).map(({ configured }) => configured),
    caseRules: findings.flatMap(({ attribute, caseRule }, i) =>
      caseRule ? [{ attribute: used[i]?.type?.name ?? attribute, rule: caseRule }] : [],
    ),
    findings,
    ofBases,
    doubts: [...findings.flatMap(({ doubts }) => doubts), ...ofBases],
    references,
    isActiveDirectory: isActiveDirectory(rootDse),
  }
}

async function referencesOf(
  connection: Connection,
  search: Buffer,
  patience: number,
): Promise<string[]> {
  const { code, diagnostic, references } = await connection.search(search, patience)
  if (code !== 0) throw resultError(code, diagnostic, references)
  return mayHoldRecipients(references)
}

interface Context {
  readonly connection: Connection
  readonly list: ListDefinition
  readonly patience: number
  /** All of them, by the names under which they are shown. */
  readonly attributes: readonly string[]
  readonly rootDse: RootDse
}

/** @returns what was found below each base */
function proofsOf(
  context: Context,
  configured: string,
  type: AttributeType | undefined,
  hasSchema: boolean,
  tellsRules: boolean,
): Promise<BaseFinding[]> {
  return Promise.all(
    context.list.bases.map((base) =>
      new AttributeProof(context, configured, type, hasSchema, tellsRules, base).run(),
    ),
  )
}

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
function bareBases(bases: readonly string[], proofs: readonly (readonly BaseFinding[])[]): Doubt[] {
  // Of a single one that is found out by whoever asks.
  if (bases.length < 2) return []
  const isBare = (place: number) =>
    proofs.every((ofBases) => !ofBases[place]?.isHeld && !ofBases[place]?.doubt)
  return bases
    .filter((_, place) => isBare(place))
    .map((base) => ({
      isOfSearches: false,
      text:
        `below ${base || 'the top'} no entry shows an address: are base, filter and access rights correct? ` +
        'If it is meant to be empty, remove it from base[]',
    }))
}

interface BaseFinding {
  readonly doubt: Doubt | undefined
  readonly isHeld: boolean
  readonly caseRule?: string
}

/** One attribute below one base. */
class AttributeProof {
  readonly #name: string
  /** In lower case: its name, and those of attributes derived from it. */
  readonly #shownAs: ReadonlySet<string>

  constructor(
    readonly context: Context,
    readonly configured: string,
    readonly type: AttributeType | undefined,
    readonly hasSchema: boolean,
    readonly tellsRules: boolean,
    readonly base: string,
  ) {
    this.#name = type?.name ?? configured
    this.#shownAs = new Set((type?.shownAs ?? [configured]).map((name) => name.toLowerCase()))
  }

  async run(): Promise<BaseFinding> {
    const { entries, code, diagnostic } = await this.#find(present(this.#name))
    if (entries.length > 0) return this.#held(entries)
    const isComplete = code === 0
    if (!isComplete) {
      const { message } = resultError(code, diagnostic)
      return this.#doubts(`entries with it cannot be listed: ${message}`)
    }
    return this.#unheld()
  }

  /** Entries have it: is it readable, and are they found by what it says? */
  async #held(entries: readonly Entry[]): Promise<BaseFinding> {
    const values = entries.map((entry) => this.#valueOf(entry))
    if (values.includes(undefined)) {
      return this.#doubts(
        this.hasSchema
          ? 'entries have it, but this account may not read it: grant it that right'
          : 'entries have it but do not show it under this name: may this account read it? Its other ' +
              'names are not known, since the schema is not readable',
      )
    }
    const [value] = values
    if (value === undefined) throw new DirectoryError('protocol', 'entries without values')
    const [same, other] = await Promise.all([
      this.#find(equalsBytes(this.#name, value)),
      this.#find(equalsBytes(this.#name, otherCase(value))),
    ])
    if (same.entries.length === 0) {
      if (this.#hasNoRule) return this.#noRule(true)
      const may = 'may this account search for it, and does it have an equality rule?'
      return this.#doubts(`an entry that has it is not found by its value: ${may}`, true)
    }
    if (other.entries.length > 0) return { doubt: undefined, isHeld: true }
    for (const rule of CASELESS) {
      const found = await this.#find(equalsBy(rule, this.#name, otherCase(value)))
      if (found.entries.length > 0) return { doubt: undefined, isHeld: true, caseRule: rule }
    }
    return this.#doubts(
      'it is case-sensitive, and cannot be searched otherwise: give it the rule caseIgnoreMatch, ' +
        'or set mode = snapshot',
      true,
      true,
    )
  }

  /** No entry has it: or does this account only not see it? */
  async #unheld(): Promise<BaseFinding> {
    if (this.hasSchema && !this.type) {
      return this.#doubts('the server has no such attribute in its schema: is the name right?')
    }
    const others = this.context.attributes.filter((name) => name !== this.#name)
    const nobody =
      this.#hasNoRule && !(await this.#isComparedBySyntax())
        ? this.#noRule(false)
        : { doubt: undefined, isHeld: false, ...this.#untried() }
    if (others.length === 0) return nobody
    const have = or(...others.map(present))
    // What the server does not know or may not tell is neither true nor false (RFC 4511 §4.5.1.7).
    const [without, any] = await Promise.all([
      this.#find(and(have, not(present(this.#name)))),
      this.#find(have),
    ])
    const seen = [...without.entries, ...any.entries]
    if (seen.some((entry) => this.#valueOf(entry) !== undefined)) {
      return this.#doubts('this account may read it but not search for it: grant it that right')
    }
    if (without.entries.length > 0 || (any.code === 0 && any.entries.length === 0)) return nobody
    return this.#doubts(
      this.hasSchema
        ? 'this account finds no entry by it: may it search for it and read it?'
        : 'no entry is found by it, and the schema is not readable: does the server know it?',
    )
  }

  get #hasNoRule(): boolean {
    return this.tellsRules && this.type !== undefined && this.type.equality === undefined
  }

  /**
   * 389 Directory Server names no rule for many attributes and compares by their syntax. Elsewhere
   * what cannot be compared is neither true nor false, and its negation neither.
   */
  async #isComparedBySyntax(): Promise<boolean> {
    const unlike = not(equalsBytes(this.#name, Buffer.from('nobody@localhost.invalid')))
    return (await this.#find(unlike)).entries.length > 0
  }

  /** Compared with case, as far as the schema tells; nobody has it, so that nothing can be tried. */
  #untried(): { caseRule?: string } {
    if (this.#hasNoRule && this.type?.syntax === IA5_STRING) return { caseRule: CASELESS[0] }
    const rule = this.type?.equality ?? ''
    if (!/^caseExact/i.test(rule)) return {}
    return { caseRule: /ia5/i.test(rule) ? CASELESS[0] : CASELESS[1] }
  }

  #noRule(isHeld: boolean): BaseFinding {
    const text =
      'it has no equality rule in the schema, so nobody is found by it: give it one, ' +
      'or set mode = snapshot'
    return this.#doubts(text, true, isHeld)
  }

  #doubts(what: string, isOfSearches = false, isHeld = false): BaseFinding {
    const where = this.context.list.bases.length > 1 ? ` below ${this.base || 'the top'}` : ''
    const text = `${printable(this.configured)}${where}: ${what}`
    return { doubt: { isOfSearches, text }, isHeld }
  }

  /** One that is an address, rather than another kind of value, which may compare otherwise. */
  #valueOf(entry: Entry): Buffer | undefined {
    const shown = entry.attributes.filter(({ type }) => this.#shownAs.has(baseName(type)))
    const values = shown.flatMap((attribute) => attribute.values)
    const name = this.#name.toLowerCase()
    const isAddress = (value: Buffer) => addressIn(name, value.toString('utf8'), true) !== undefined
    return values.find(isAddress) ?? values[0]
  }

  #find(filter: Buffer, attributes: readonly string[] = [this.#name]): Promise<Result> {
    const { connection, list, patience } = this.context
    const search = searchRequest({
      base: this.base,
      scope: SCOPE.subtree,
      dereference: list.dereference,
      filter: matching(list, filter),
      attributes: attributeList(attributes),
      sizeLimit: SAMPLE,
      seconds: Math.ceil(patience / 1000),
    })
    return connection.search(search, patience)
  }
}

/** With ASCII letters in the other case. */
function otherCase(value: Buffer): Buffer {
  return Buffer.from(
    value.map((byte) => {
      const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a)
      return isLetter ? byte ^ 0x20 : byte
    }),
  )
}

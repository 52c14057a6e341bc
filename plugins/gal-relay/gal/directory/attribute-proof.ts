// Examines one attribute below one base: whether it is readable, and whether searches for its values find
// entries. If a server does not know an attribute, compares it case-sensitively, cannot search for it or
// hides it from this account, a search succeeds and returns no entries.

import { resultError } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { and, equalsBy, equalsBytes, not, or, present } from '../../ldap/filter'
import type { AttributeType, Schema } from '../../ldap/schema'
import type { Result } from '../../ldap/search-result'
import type { BaseSearch, Doubt } from './base-search'
import { addressIn, baseName, LONGEST_VALUE } from './entry-addresses'
import { limitHint } from './hint'
import { matching } from './list-definition'

/** How many entries that have the attribute are read; each must show its value. */
const SHOWN = 200
/** Matching rules that ignore case, to try on case-sensitive attributes. */
const CASELESS = ['caseIgnoreIA5Match', 'caseIgnoreMatch'] as const
/** Compared case-sensitively if the schema names no rule (389 Directory Server). */
const IA5_STRING = '1.3.6.1.4.1.1466.115.121.1.26'

/** What was found out about one attribute below one base. */
export interface BaseFinding {
  readonly doubt: Doubt | undefined
  readonly isHeld: boolean
  readonly caseRule?: string
  /** Some entries that have it, with their values of it. */
  readonly entries?: readonly Entry[]
}

/** The names, in lower case, under which entries show an attribute: its own and those of its subtypes. */
export const shownNames = (configured: string, type: AttributeType | undefined): string[] =>
  (type?.shownAs ?? [configured]).map((name) => name.toLowerCase())

/** Examines one attribute below one base. */
export class AttributeProof {
  readonly #name: string
  /** The names of the attribute and of its subtypes, in lower case. */
  readonly #shownAs: ReadonlySet<string>

  constructor(
    readonly search: BaseSearch,
    readonly configured: string,
    readonly type: AttributeType | undefined,
    readonly schema: Schema | undefined,
  ) {
    this.#name = type?.name ?? configured
    this.#shownAs = new Set(shownNames(configured, type))
  }

  async run(): Promise<BaseFinding> {
    const { entries, code, diagnostic } = await this.#find(present(this.#name), [this.#name], SHOWN)
    const isComplete = code === 0
    if (entries.length === 0 && !isComplete) {
      const error = resultError(code, diagnostic)
      return this.#doubts(`entries with it cannot be listed: ${error.message}${limitHint(error)}`)
    }
    if (entries.length === 0) return await this.#unheld()
    return { ...(await this.#held(entries)), entries }
  }

  /** Entries have it. May this account read it, and does a search for its value find them? */
  async #held(entries: readonly Entry[]): Promise<BaseFinding> {
    const values = entries.map((entry) => this.#valueOf(entry))
    if (values.includes(undefined)) {
      return this.#doubts(
        this.schema
          ? 'entries have it, but this account may not read it: grant it that right'
          : 'entries have it but do not show it under this name: may this account read it? Its other ' +
              'names are not known, since the schema is not readable',
      )
    }
    const value = values.find((one) => one !== undefined && one.length <= LONGEST_VALUE)
    // Nobody can ask for an address that long.
    if (value === undefined) return { doubt: undefined, isHeld: true }
    const other = await this.#find(equalsBytes(this.#name, otherCase(value)))
    if (other.entries.length > 0) return { doubt: undefined, isHeld: true }
    const same = await this.#find(equalsBytes(this.#name, value))
    if (same.entries.length === 0) {
      if (this.#hasNoRule) return this.#noRule(true)
      const may = 'may this account search for it, and does it have an equality rule?'
      return this.#doubts(`an entry that has it is not found by its value: ${may}`, true)
    }
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

  /** No entry seems to have it. Is that so, or can this account just not see it? */
  async #unheld(): Promise<BaseFinding> {
    if (this.schema && !this.type) {
      return this.#doubts('the server has no such attribute in its schema: is the name right?')
    }
    const others = this.search.list.attributes.filter((name) => name !== this.#name)
    const nobody =
      this.#hasNoRule && !(await this.#isComparedBySyntax())
        ? this.#noRule(false)
        : { doubt: undefined, isHeld: false, ...this.#untried() }
    if (others.length === 0) return nobody
    const have = or(...others.map(present))
    // A filter on an attribute that the server does not know or may not disclose is neither true nor
    // false (RFC 4511 §4.5.1.7).
    const [without, any] = await Promise.all([
      this.#find(and(have, not(present(this.#name)))),
      this.#find(have),
    ])
    const seen = [...without.entries, ...any.entries]
    if (seen.some((entry) => this.#valueOf(entry) !== undefined)) {
      return this.#doubts(
        'this account may read it but not search for it: grant it that right, or rebuild the index',
      )
    }
    if (without.entries.length > 0 || (any.code === 0 && any.entries.length === 0)) return nobody
    return this.#doubts(
      this.schema
        ? 'this account finds no entry by it: may it search for it and read it?'
        : 'no entry is found by it, and the schema is not readable: does the server know it?',
    )
  }

  get #hasNoRule(): boolean {
    return Boolean(this.schema?.tellsRules && this.type && this.type.equality === undefined)
  }

  /**
   * 389 Directory Server names no rule for many attributes and compares them by their syntax. On other
   * servers a comparison without a rule is neither true nor false, and so is its negation.
   */
  async #isComparedBySyntax(): Promise<boolean> {
    const unlike = not(equalsBytes(this.#name, Buffer.from('nobody@localhost.invalid')))
    return (await this.#find(unlike)).entries.length > 0
  }

  /** Judges case sensitivity by the schema alone: no entry has the attribute, so there is none to try. */
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
    return { doubt: this.search.doubt(this.configured, what, isOfSearches), isHeld }
  }

  /** Prefers a value that is an address: values of other kinds may compare differently. */
  #valueOf(entry: Entry): Buffer | undefined {
    const shown = entry.attributes.filter(({ type }) => this.#shownAs.has(baseName(type)))
    const values = shown.flatMap((attribute) => attribute.values)
    const name = this.#name.toLowerCase()
    const isShort = (value: Buffer) => value.length <= LONGEST_VALUE
    const isAddress = (value: Buffer) =>
      isShort(value) && addressIn(name, value.toString('utf8'), true) !== undefined
    return values.find(isAddress) ?? values.find(isShort) ?? values[0]
  }

  /** Searches only the entries of the list. */
  #find(filter: Buffer, attributes = [this.#name], sizeLimit?: number): Promise<Result> {
    return this.search.find(matching(this.search.list, filter), attributes, sizeLimit)
  }
}

/** Swaps the case of ASCII letters. */
function otherCase(value: Buffer): Buffer {
  return Buffer.from(
    value.map((byte) => {
      const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a)
      return isLetter ? byte ^ 0x20 : byte
    }),
  )
}

// What one attribute shows below one base: whether it is readable, and whether entries are found by what
// it says. An attribute that a server does not know, compares with case, cannot search for or hides from
// this account answers every search with success and no entries.

import { resultError } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { and, equalsBy, equalsBytes, not, or, present } from '../../ldap/filter'
import type { AttributeType, Schema } from '../../ldap/schema'
import type { Result } from '../../ldap/search-result'
import type { BaseSearch, Doubt } from './base-search'
import { addressIn, baseName, LONGEST_VALUE } from './entry-addresses'
import { limitHint } from './hint'
import { matching } from './list-definition'

/** Entries that must show what they have. */
const SHOWN = 200
/** Rules that compare without case, for attributes that compare with it. */
const CASELESS = ['caseIgnoreIA5Match', 'caseIgnoreMatch'] as const
/** Compared with case where no rule is named (389 Directory Server). */
const IA5_STRING = '1.3.6.1.4.1.1466.115.121.1.26'

/** Of one attribute below one base. */
export interface BaseFinding {
  readonly doubt: Doubt | undefined
  readonly isHeld: boolean
  readonly caseRule?: string
}

/** One attribute below one base. */
export class AttributeProof {
  readonly #name: string
  /** In lower case: its name, and those of attributes derived from it. */
  readonly #shownAs: ReadonlySet<string>

  constructor(
    readonly search: BaseSearch,
    readonly configured: string,
    readonly type: AttributeType | undefined,
    readonly schema: Schema | undefined,
  ) {
    this.#name = type?.name ?? configured
    this.#shownAs = new Set((type?.shownAs ?? [configured]).map((name) => name.toLowerCase()))
  }

  async run(): Promise<BaseFinding> {
    const { entries, code, diagnostic } = await this.#find(present(this.#name), [this.#name], SHOWN)
    const isComplete = code === 0
    if (entries.length === 0 && !isComplete) {
      const error = resultError(code, diagnostic)
      return this.#doubts(`entries with it cannot be listed: ${error.message}${limitHint(error)}`)
    }
    return await (entries.length > 0 ? this.#held(entries) : this.#unheld())
  }

  /** Entries have it: is it readable, and are they found by what it says? */
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
    // Nobody is asked for by such an address.
    if (value === undefined) return { doubt: undefined, isHeld: true }
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
    // What the server does not know or may not tell is neither true nor false (RFC 4511 §4.5.1.7).
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
    return { doubt: this.search.doubt(this.configured, what, isOfSearches), isHeld }
  }

  /** One that is an address, rather than another kind of value, which may compare otherwise. */
  #valueOf(entry: Entry): Buffer | undefined {
    const shown = entry.attributes.filter(({ type }) => this.#shownAs.has(baseName(type)))
    const values = shown.flatMap((attribute) => attribute.values)
    const name = this.#name.toLowerCase()
    const isShort = (value: Buffer) => value.length <= LONGEST_VALUE
    const isAddress = (value: Buffer) =>
      isShort(value) && addressIn(name, value.toString('utf8'), true) !== undefined
    return values.find(isAddress) ?? values.find(isShort) ?? values[0]
  }

  /** Among the list's entries. */
  #find(filter: Buffer, attributes = [this.#name], sizeLimit?: number): Promise<Result> {
    return this.search.find(matching(this.search.list, filter), attributes, sizeLimit)
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

// Builds the searches for an address. The parts that never change are encoded once, in the constructor.

import { equalityOf, equals, equalsBy, or, present } from '../../ldap/filter'
import { attributeList, SCOPE, scopeOf, searchFor, searchRequest } from '../../ldap/search-request'
import { type AddressValue, valuesFor, valuesIn } from './entry-addresses'
import { type ListDefinition, matching, withAddress } from './list-definition'

/** A case-sensitive attribute, and the matching rule that searches it without regard to case. */
export interface CaseRule {
  readonly attribute: string
  readonly rule: string
}

/** Few entries share an address; those whose addresses only look alike to the server count too. */
export const SIZE_LIMIT = 50

/** No mailbox can have this address (RFC 2606 §2): searching for it shows that searches work. */
const NOBODY = 'gal-relay-check@gal-relay.invalid'

export class AddressSearch {
  readonly #wanted: Buffer
  readonly #seconds: number
  /** One for each base. */
  readonly #scopes: readonly Buffer[]
  readonly #attributes: readonly {
    readonly values: (address: string) => string[]
    readonly equality: (value: string) => Buffer
  }[]

  /** @param timeout how long a server may take for one search, milliseconds */
  constructor(
    readonly list: ListDefinition,
    timeout: number,
  ) {
    this.#wanted = attributeList(list.wanted)
    this.#seconds = Math.ceil(timeout / 1000)
    this.#scopes = list.bases.map((base) =>
      scopeOf({
        base,
        scope: SCOPE.subtree,
        dereference: list.dereference,
        sizeLimit: SIZE_LIMIT,
        seconds: this.#seconds,
      }),
    )
    this.#attributes = list.attributes.map((name) => ({
      values: valuesIn(name),
      equality: equalityOf(name),
    }))
  }

  /**
   * @param addresses addresses to search for below every base
   * @param beside values to search for as well, listed for each base
   * @returns one search for each base, for entries that may hold one of the addresses
   */
  forAddresses(
    addresses: readonly string[],
    beside: readonly (readonly Pick<AddressValue, 'attribute' | 'value'>[])[] = [],
  ): Buffer[] {
    const own = this.#terms(addresses)
    return this.#scopes.map((scope, i) => {
      const more = beside[i]?.map(({ attribute, value }) => equals(attribute, value)) ?? []
      const terms = [...own, ...more]
      // Not every server accepts an empty disjunction (RFC 4526).
      const filter = or(...(terms.length > 0 ? terms : this.#terms([NOBODY])))
      return this.#search(scope, matching(this.list, filter))
    })
  }

  /**
   * The same by each attribute alone: an attribute without an index makes a server look through all
   * entries, even for what it has in another, and not all servers do that.
   */
  byEachAttribute(addresses: readonly string[] = [NOBODY]): Buffer[] {
    return this.#scopes.flatMap((scope) =>
      this.#attributes.flatMap(({ values, equality }) => {
        const terms = addresses.flatMap((one) => values(one).map(equality))
        if (terms.length === 0) return []
        return [this.#search(scope, matching(this.list, or(...terms)))]
      }),
    )
  }

  /**
   * @param known addresses that entries have, listed for each base; another server of the directory may
   *   hold them in another attribute
   */
  forKnown(known: readonly (readonly AddressValue[])[]): Buffer[] {
    const inEachForm = (one: AddressValue) => [
      one,
      ...this.list.attributes.flatMap((attribute) =>
        valuesFor(attribute, one.address).map((value) => ({ attribute, value })),
      ),
    ]
    return this.forAddresses(
      [],
      known.map((some) => some.flatMap(inEachForm)),
    )
  }

  /**
   * @param rules how to search case-sensitive attributes without regard to case
   * @returns one search for each base
   */
  forAnyCase(addresses: readonly string[], rules: readonly CaseRule[]): Buffer[] {
    const terms = addresses.flatMap((address) =>
      rules.flatMap(({ attribute, rule }) =>
        valuesFor(attribute, address).map((value) => equalsBy(rule, attribute, value)),
      ),
    )
    const filter = matching(this.list, or(...terms))
    return this.#scopes.map((scope) => this.#search(scope, filter))
  }

  /** @returns one search for each base, to see whether a server answers as it should */
  forNobody(): Buffer[] {
    return this.forAddresses([NOBODY])
  }

  /** @returns one search for each base, for some entries that have an address of any type */
  forAnyone(): Buffer[] {
    const filter = withAddress(this.list)
    return this.#scopes.map((scope) => this.#search(scope, filter))
  }

  /** @returns a search for more values of one entry's attributes, named with their range options */
  forValues(dn: string, ...attributes: readonly string[]): Buffer {
    return searchRequest({
      base: dn,
      scope: SCOPE.base,
      // A DN that a server returned already names the entry itself.
      dereference: 'never',
      seconds: this.#seconds,
      filter: present('objectClass'),
      attributes: attributeList(attributes),
    })
  }

  #terms(addresses: readonly string[]): Buffer[] {
    return addresses.flatMap((address) =>
      this.#attributes.flatMap(({ values, equality }) => values(address).map(equality)),
    )
  }

  #search(scope: Buffer, filter: Buffer): Buffer {
    return searchFor(scope, { filter, attributes: this.#wanted })
  }
}

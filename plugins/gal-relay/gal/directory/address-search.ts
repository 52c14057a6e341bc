// The searches for an address: what never changes is encoded once, when the list is made.
import type { GalSettings, LdapSettings } from '../../settings/settings'
import { type AddressValue, valuesFor } from './entry-addresses'
import { and, equals, equalsBy, filterFromText, or, present } from './filter'
import { attributeList, SCOPE, searchRequest } from './search-request'

/** An attribute that compares with case, and the matching rule by which it is asked without. */
export interface CaseRule {
  readonly attribute: string
  readonly rule: string
}

/** Entries with the same address are few; those that only look alike to the server count too. */
export const SIZE_LIMIT = 50

/** No mailbox can have this address (RFC 2606 §2): searching for it shows that searches work. */
const NOBODY = 'gal-relay-check@gal-relay.invalid'

export class AddressSearch {
  readonly #attributes: readonly string[]
  readonly #filter: Buffer | undefined
  readonly #bases: readonly string[]
  readonly #wanted: Buffer
  readonly #seconds: number
  readonly #dereference: LdapSettings['dereference']

  /** @throws Error when the filter is none; the settings have checked it */
  constructor(gal: GalSettings, ldap: LdapSettings) {
    this.#attributes = gal.attributes
    this.#filter = gal.filter === '(objectClass=*)' ? undefined : filterFromText(gal.filter)
    this.#bases = ldap.base
    const flag = gal.authenticated_only_attribute
    this.#wanted = attributeList(flag ? [...gal.attributes, flag] : gal.attributes)
    this.#dereference = ldap.dereference
    this.#seconds = Math.ceil(ldap.query_timeout / 1000)
  }

  /**
   * @param addresses to search for below all bases
   * @param beside values that entries have, for each base its own
   * @returns one search for each base, for entries that may hold one of the addresses
   */
  forAddresses(
    addresses: readonly string[],
    beside: readonly (readonly Pick<AddressValue, 'attribute' | 'value'>[])[] = [],
  ): Buffer[] {
    const own = this.#terms(addresses)
    return this.#bases.map((base, i) => {
      const more = beside[i]?.map(({ attribute, value }) => equals(attribute, value)) ?? []
      const terms = [...own, ...more]
      // Not all servers know a disjunction of nothing (RFC 4526).
      const filter = or(...(terms.length > 0 ? terms : this.#terms([NOBODY])))
      return this.#search(base, SCOPE.subtree, SIZE_LIMIT, this.#with(filter))
    })
  }

  /**
   * @param rules how attributes that compare with case are asked without
   * @returns one search for each base
   */
  forAnyCase(addresses: readonly string[], rules: readonly CaseRule[]): Buffer[] {
    const terms = addresses.flatMap((address) =>
      rules.flatMap(({ attribute, rule }) =>
        valuesFor(attribute, address).map((value) => equalsBy(rule, attribute, value)),
      ),
    )
    const filter = this.#with(or(...terms))
    return this.#bases.map((base) => this.#search(base, SCOPE.subtree, SIZE_LIMIT, filter))
  }

  /** @returns one search for each base, to see whether a server answers as it should */
  forNobody(): Buffer[] {
    return this.forAddresses([NOBODY])
  }

  /** @returns one search for each base, for some entries that have an address, of whatever type */
  forAnyone(): Buffer[] {
    const filter = this.#with(or(...this.#attributes.map(present)))
    return this.#bases.map((base) => this.#search(base, SCOPE.subtree, SIZE_LIMIT, filter))
  }

  /** @returns a search for more values of one entry's attributes, named with their range options */
  forValues(dn: string, ...attributes: readonly string[]): Buffer {
    return this.#search(dn, SCOPE.base, 0, present('objectClass'), attributeList(attributes))
  }

  #terms(addresses: readonly string[]): Buffer[] {
    return addresses.flatMap((address) =>
      this.#attributes.flatMap((name) =>
        valuesFor(name, address).map((value) => equals(name, value)),
      ),
    )
  }

  #with(filter: Buffer): Buffer {
    return this.#filter ? and(this.#filter, filter) : filter
  }

  #search(
    base: string,
    scope: 0 | 2,
    sizeLimit: number,
    filter: Buffer,
    attributes = this.#wanted,
  ): Buffer {
    return searchRequest({
      base,
      scope,
      // The entry of a DN that a server gave is itself.
      dereference: scope === SCOPE.base ? 'never' : this.#dereference,
      sizeLimit,
      seconds: this.#seconds,
      filter,
      attributes,
    })
  }
}

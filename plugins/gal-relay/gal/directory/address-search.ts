// The searches for an address: what never changes is encoded once, when the list is made.
import type { GalSettings, LdapSettings } from '../../settings/settings'
import { boolean, enumerated, integer, octets, TAG, tlv } from './ber'
import { addressPrefix } from './entry-addresses'
import { and, equals, filterFromText, or, present } from './filter'

const SEARCH_REQUEST = 0x63
const SCOPE = { base: 0, subtree: 2 } as const

/** Entries with the same address are few; those that only look alike to the server count too. */
const SIZE_LIMIT = 50

/** No mailbox can have this address (RFC 2606 §2): searching for it shows that searches work. */
const NOBODY = 'gal-relay-check@gal-relay.invalid'

export class AddressSearch {
  readonly #attributes: readonly string[]
  readonly #filter: Buffer | undefined
  readonly #bases: readonly string[]
  readonly #wanted: Buffer
  readonly #seconds: number

  /** @throws Error when the filter is none; the settings have checked it */
  constructor(gal: GalSettings, ldap: LdapSettings) {
    this.#attributes = gal.attributes
    this.#filter = gal.filter === '(objectClass=*)' ? undefined : filterFromText(gal.filter)
    this.#bases = ldap.base
    const flag = gal.authenticated_only_attribute
    const wanted = flag ? [...gal.attributes, flag] : gal.attributes
    this.#wanted = tlv(TAG.sequence, ...wanted.map((name) => octets(name)))
    this.#seconds = Math.ceil(ldap.query_timeout / 1000)
  }

  /** @returns one search for each base, for entries that may hold one of these addresses */
  forAddresses(addresses: readonly string[]): Buffer[] {
    const terms = addresses.flatMap((address) =>
      this.#attributes.map((name) => equals(name, addressPrefix(name) + address)),
    )
    const filter = this.#with(or(...terms))
    return this.#bases.map((base) => this.#search(base, SCOPE.subtree, SIZE_LIMIT, filter))
  }

  /** @returns one search for each base, to see whether a server answers as it should */
  forNobody(): Buffer[] {
    return this.forAddresses([NOBODY])
  }

  /** @returns one search for each base, for any entry that has an address */
  forAnyone(): Buffer[] {
    const filter = this.#with(or(...this.#attributes.map(present)))
    return this.#bases.map((base) => this.#search(base, SCOPE.subtree, 1, filter))
  }

  /** @returns a search for more values of one entry's attribute, named with its range option */
  forValues(dn: string, attribute: string): Buffer {
    const wanted = tlv(TAG.sequence, octets(attribute))
    return this.#search(dn, SCOPE.base, 0, present('objectClass'), wanted)
  }

  #with(filter: Buffer): Buffer {
    return this.#filter ? and(this.#filter, filter) : filter
  }

  #search(
    base: string,
    scope: number,
    sizeLimit: number,
    filter: Buffer,
    wanted = this.#wanted,
  ): Buffer {
    return tlv(
      SEARCH_REQUEST,
      octets(base),
      enumerated(scope),
      enumerated(0),
      integer(sizeLimit),
      integer(this.#seconds),
      boolean(false),
      filter,
      wanted,
    )
  }
}

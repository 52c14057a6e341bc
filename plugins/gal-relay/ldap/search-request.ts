// A search as it goes over the wire (RFC 4511 §4.5.1).
import { boolean, enumerated, integer, octets, TAG, tlv } from './ber'

const SEARCH_REQUEST = 0x63

export const SCOPE = { base: 0, subtree: 2 } as const

/** What becomes of alias objects (RFC 4511 §4.5.1.3): below the base, of the base itself, or both. */
export const DEREFERENCE = { never: 0, search: 1, find: 2, always: 3 } as const

export interface Search {
  readonly base: string
  readonly scope: 0 | 2
  /** Default: never. */
  readonly dereference?: keyof typeof DEREFERENCE
  /** Encoded. */
  readonly filter: Buffer
  /** Which ones are wanted, from `attributeList`. */
  readonly attributes: Buffer
  /** Entries at most; 0: as many as there are. */
  readonly sizeLimit?: number
  /** How long the server may take; 0: as long as it wants. */
  readonly seconds?: number
}

/** @returns the SearchRequest, without message number */
export function searchRequest(search: Search): Buffer {
  return searchFor(scopeOf(search), search)
}

/** The same with what many searches have in common, from {@link scopeOf}. */
export function searchFor(
  scope: Buffer,
  { filter, attributes }: Pick<Search, 'filter' | 'attributes'>,
): Buffer {
  return tlv(SEARCH_REQUEST, scope, filter, attributes)
}

/** What comes before the filter. */
export function scopeOf(search: Omit<Search, 'filter' | 'attributes'>): Buffer {
  const { base, scope, dereference = 'never', sizeLimit = 0, seconds = 0 } = search
  return Buffer.concat([
    octets(base),
    enumerated(scope),
    enumerated(DEREFERENCE[dereference]),
    integer(sizeLimit),
    integer(seconds),
    boolean(false),
  ])
}

/**
 * @param names of any case; none means all that are not operational, `1.1` means none (RFC 4511 §4.5.1.8)
 */
export function attributeList(names: readonly string[]): Buffer {
  // Servers made with ldapjs compare them with names in lower case.
  return tlv(TAG.sequence, ...names.map((name) => octets(name.toLowerCase())))
}

// Encodes a search request (RFC 4511 §4.5.1).
import { boolean, enumerated, integer, octets, TAG, tlv } from './ber'

const SEARCH_REQUEST = 0x63

export const SCOPE = { base: 0, one: 1, subtree: 2 } as const

/** Where aliases are followed (RFC 4511 §4.5.1.3): below the base, at the base itself, or both. */
export const DEREFERENCE = { never: 0, search: 1, find: 2, always: 3 } as const

export interface Search {
  readonly base: string
  readonly scope: 0 | 1 | 2
  /** Default: never. */
  readonly dereference?: keyof typeof DEREFERENCE
  /** The encoded filter. */
  readonly filter: Buffer
  /** The wanted attributes, from `attributeList`. */
  readonly attributes: Buffer
  /** The most entries to return; 0 for no limit. */
  readonly sizeLimit?: number
  /** How long the server may take; 0 for no limit. */
  readonly seconds?: number
}

/** @returns the SearchRequest, without a message number */
export function searchRequest(search: Search): Buffer {
  return searchFor(scopeOf(search), search)
}

/** Like {@link searchRequest}, with the part that many searches share, from {@link scopeOf}. */
export function searchFor(
  scope: Buffer,
  { filter, attributes }: Pick<Search, 'filter' | 'attributes'>,
): Buffer {
  return tlv(SEARCH_REQUEST, scope, filter, attributes)
}

/** The part of a SearchRequest before the filter. */
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
 * @param names in any case; an empty list means all attributes that are not operational, `1.1`
 * means no attributes (RFC 4511 §4.5.1.8)
 */
export function attributeList(names: readonly string[]): Buffer {
  // Servers built with ldapjs compare them with names in lower case.
  return tlv(TAG.sequence, ...names.map((name) => octets(name.toLowerCase())))
}

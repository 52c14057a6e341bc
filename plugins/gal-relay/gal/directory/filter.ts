// Search filters as they go over the wire (RFC 4511 §4.5.1.7). The configured filter is parsed once by
// ldapjs; the values that recipients bring are only ever put into place as bytes with a length, so
// that no address can become part of a filter's grammar.
import { boolean, octets, tlv } from './ber'
import { type ParsedFilter, parseFilter } from './ldapjs'

const AND = 0xa0
const OR = 0xa1
const NOT = 0xa2
const EQUALS = 0xa3
const SUBSTRINGS = 0xa4
const AT_LEAST = 0xa5
const AT_MOST = 0xa6
const PRESENT = 0x87
const APPROXIMATE = 0xa8
const EXTENSIBLE = 0xa9

export function and(...filters: readonly Buffer[]): Buffer {
  return filters.length === 1 && filters[0] ? filters[0] : tlv(AND, ...filters)
}

export function or(...filters: readonly Buffer[]): Buffer {
  return filters.length === 1 && filters[0] ? filters[0] : tlv(OR, ...filters)
}

export function equals(attribute: string, value: string): Buffer {
  return tlv(EQUALS, octets(attribute), octets(value))
}

/** An extensible match: equality by another rule than the attribute's own (RFC 4511 §4.5.1.7.7). */
export function equalsBy(rule: string, attribute: string, value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return tlv(EXTENSIBLE, octets(rule, 0x81), octets(attribute, 0x82), octets(bytes, 0x83))
}

export function not(filter: Buffer): Buffer {
  return tlv(NOT, filter)
}

/** For attributes whose values are bytes, such as entryUUID's relatives. */
export function equalsBytes(attribute: string, value: Buffer): Buffer {
  return tlv(EQUALS, octets(attribute), octets(value))
}

export function atLeast(attribute: string, value: string): Buffer {
  return tlv(AT_LEAST, octets(attribute), octets(value))
}

export function present(attribute: string): Buffer {
  return octets(attribute, PRESENT)
}

/**
 * The bytes of a filter written as in RFC 4515.
 * @throws Error with a text for the operator when it is none
 */
export function filterFromText(text: string): Buffer {
  return encoded(parseFilter(text))
}

/** The names of the attributes that a filter looks at, as they are written. */
export function attributesOfFilter(text: string): string[] {
  const names = ({ type, attribute, clauses, filter }: ParsedFilter): string[] => {
    if (type === 'AndFilter' || type === 'OrFilter') return (clauses ?? []).flatMap(names)
    if (type === 'NotFilter') return filter ? names(filter) : []
    return attribute ? [attribute] : []
  }
  return [...new Set(names(parseFilter(text)))]
}

function encoded(filter: ParsedFilter): Buffer {
  const attribute = filter.attribute ?? ''
  switch (filter.type) {
    case 'AndFilter':
      return tlv(AND, ...(filter.clauses ?? []).map(encoded))
    case 'OrFilter':
      return tlv(OR, ...(filter.clauses ?? []).map(encoded))
    case 'NotFilter':
      if (!filter.filter) break
      return tlv(NOT, encoded(filter.filter))
    case 'PresenceFilter':
      return present(attribute)
    case 'EqualityFilter':
      return assertion(EQUALS, attribute, filter.value)
    case 'GreaterThanEqualsFilter':
      return assertion(AT_LEAST, attribute, filter.value)
    case 'LessThanEqualsFilter':
      return assertion(AT_MOST, attribute, filter.value)
    case 'ApproximateFilter':
      return assertion(APPROXIMATE, attribute, filter.value)
    case 'SubstringFilter': {
      const parts = [
        ...(filter.initial ? [octets(unescaped(filter.initial), 0x80)] : []),
        ...(filter.any ?? []).map((part) => octets(unescaped(part), 0x81)),
        ...(filter.final ? [octets(unescaped(filter.final), 0x82)] : []),
      ]
      return tlv(SUBSTRINGS, octets(attribute), tlv(0x30, ...parts))
    }
    case 'ExtensibleFilter':
      return tlv(
        EXTENSIBLE,
        ...(filter.matchingRule ? [octets(filter.matchingRule, 0x81)] : []),
        ...(attribute ? [octets(attribute, 0x82)] : []),
        octets(unescaped(filter.value ?? ''), 0x83),
        ...(filter.dnAttributes ? [boolean(true, 0x84)] : []),
      )
  }
  throw new Error(`a filter of a kind that is not known: ${filter.type}`)
}

function assertion(tag: number, attribute: string, value: string | undefined): Buffer {
  return tlv(tag, octets(attribute), octets(unescaped(value ?? '')))
}

/** ldapjs leaves `\2a` and the like in the values, and puts some there itself (RFC 4515 §3). */
function unescaped(value: string): Buffer {
  const bytes = Buffer.from(value)
  const out: number[] = []
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== 0x5c) {
      out.push(bytes[i] as number)
      continue
    }
    const hex = bytes.toString('latin1', i + 1, i + 3)
    if (!/^[0-9a-f]{2}$/i.test(hex)) {
      throw new Error(`a backslash stands before two hexadecimal digits, not before "${hex}"`)
    }
    out.push(Number.parseInt(hex, 16))
    i += 2
  }
  return Buffer.from(out)
}

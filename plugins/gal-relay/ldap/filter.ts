// Encodes search filters (RFC 4511 §4.5.1.7). The configured filter is parsed once; values from
// outside are only ever inserted as bytes with a length, so no address can become part of a
// filter's grammar. ldapjs' parser is not used: it rejects attributes named by OID, empty values,
// and the filters for "true" and "false" (RFC 4526).
import { boolean, octets, tlv, tlvWithText } from './ber'

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
  return equalityOf(attribute)(value)
}

/** For many comparisons with one attribute, whose name is encoded only once. */
export function equalityOf(attribute: string): (value: string) => Buffer {
  const name = octets(attribute)
  return (value) => tlvWithText(EQUALS, name, value)
}

/** An extensible match: equality by another rule than the attribute's own (RFC 4511 §4.5.1.7.7). */
export function equalsBy(rule: string, attribute: string, value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return tlv(EXTENSIBLE, octets(rule, 0x81), octets(attribute, 0x82), octets(bytes, 0x83))
}

export function not(filter: Buffer): Buffer {
  return tlv(NOT, filter)
}

/** For attributes with binary values, such as objectGUID. */
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
 * Encodes a filter written as in RFC 4515; blanks around its parts are ignored.
 * @throws Error with a message for the operator if the text is not a filter
 */
export function filterFromText(text: string): Buffer {
  return parsed(text).filter
}

/** The names of the attributes in a filter, as they are written. @throws Error as above */
export function attributesOfFilter(text: string): string[] {
  return [...parsed(text).attributes]
}

interface Parsed {
  readonly filter: Buffer
  readonly attributes: ReadonlySet<string>
}

function parsed(text: string): Parsed {
  const attributes = new Set<string>()
  const whole = text.trim()
  // A single comparison may be written without parentheses.
  const [filter, end] = whole.startsWith('(')
    ? filterAt(whole, 0, attributes)
    : [comparison(whole, attributes), whole.length]
  if (end < whole.length) throw new Error('there is more after the last parenthesis')
  return { filter, attributes }
}

/** @returns the filter whose parenthesis opens at `at`, and where it ends */
function filterAt(text: string, at: number, attributes: Set<string>): [Buffer, number] {
  const operator = afterBlanks(text, at + 1)
  switch (text[operator]) {
    case '&':
    case '|': {
      const filters: Buffer[] = []
      let next = afterBlanks(text, operator + 1)
      while (text[next] === '(') {
        const [filter, end] = filterAt(text, next, attributes)
        filters.push(filter)
        next = afterBlanks(text, end)
      }
      return [tlv(text[operator] === '&' ? AND : OR, ...filters), closing(text, next)]
    }
    case '!': {
      const inner = afterBlanks(text, operator + 1)
      if (text[inner] !== '(') throw new Error("'!' takes one filter in parentheses")
      const [filter, end] = filterAt(text, inner, attributes)
      return [tlv(NOT, filter), closing(text, afterBlanks(text, end))]
    }
  }
  const end = operator + text.slice(operator).search(/[()]|$/)
  return [comparison(text.slice(operator, end), attributes), closing(text, end)]
}

function afterBlanks(text: string, at: number): number {
  return at + text.slice(at).search(/\S|$/)
}

/** @returns the position after the closing parenthesis, which must be at `at` */
function closing(text: string, at: number): number {
  if (text[at] === ')') return at + 1
  if (at >= text.length) throw new Error('unbalanced parentheses')
  throw new Error('a closing parenthesis is missing after a filter')
}

const NAME = '(?:[a-z][\\w-]*|\\d+(?:\\.\\d+)+)(?:;[\\w-]+)*'
const COMPARISON = new RegExp(`^(${NAME})\\s*(=|>=|<=|~=)(.*)$`, 'is')
const EXTENSIBLE_MATCH = new RegExp(`^(${NAME})?(:dn)?(?::(${NAME}))?:=(.*)$`, 'is')

const ORDERED = { '>=': AT_LEAST, '<=': AT_MOST, '~=': APPROXIMATE } as const

function comparison(text: string, attributes: Set<string>): Buffer {
  const [, matched, dn, rule, assertion = ''] = EXTENSIBLE_MATCH.exec(text) ?? []
  if (matched !== undefined || rule !== undefined) {
    if (matched !== undefined) attributes.add(matched)
    return tlv(
      EXTENSIBLE,
      ...(rule === undefined ? [] : [octets(rule, 0x81)]),
      ...(matched === undefined ? [] : [octets(matched, 0x82)]),
      octets(unescaped(assertion), 0x83),
      ...(dn === undefined ? [] : [boolean(true, 0x84)]),
    )
  }
  const [, attribute, operator, value = ''] = COMPARISON.exec(text) ?? []
  if (attribute === undefined) throw new Error('it lacks a comparison such as mail=*')
  attributes.add(attribute)
  if (operator !== '=') {
    const tag = ORDERED[operator as keyof typeof ORDERED]
    return tlv(tag, octets(attribute), octets(unescaped(value)))
  }
  if (value === '*') return present(attribute)
  const [initial = '', ...others] = value.split('*')
  const final = others.pop()
  if (final === undefined) return tlv(EQUALS, octets(attribute), octets(unescaped(value)))
  const parts = [
    ...(initial ? [octets(unescaped(initial), 0x80)] : []),
    ...others.filter(Boolean).map((part) => octets(unescaped(part), 0x81)),
    ...(final ? [octets(unescaped(final), 0x82)] : []),
  ]
  if (parts.length === 0) throw new Error(`probably meant: ${attribute}=*`)
  return tlv(SUBSTRINGS, octets(attribute), tlv(0x30, ...parts))
}

/** Replaces escapes such as `\2a` with the bytes that they represent (RFC 4515 §3). */
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
      throw new Error(`a backslash must be followed by two hexadecimal digits, not by "${hex}"`)
    }
    out.push(Number.parseInt(hex, 16))
    i += 2
  }
  return Buffer.from(out)
}

// The part of the Basic Encoding Rules that LDAP needs (RFC 4511 §5.1): tag, definite length,
// value. Reading never goes past the given end, and throws MalformedBer instead of guessing.

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  octets: 0x04,
  enumerated: 0x0a,
  sequence: 0x30,
  set: 0x31,
} as const

/** The data received is not LDAP, or is incomplete. */
export class MalformedBer extends Error {
  override readonly name = 'MalformedBer'
}

/** Encodes one value with its tag and length. */
export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  let length = 0
  for (const part of parts) length += part.length
  const { bytes, start } = begun(tag, length)
  let at = start
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Encodes an OCTET STRING; text is encoded as UTF-8. */
export function octets(text: string | Buffer, tag: number = TAG.octets): Buffer {
  if (typeof text !== 'string') return tlv(tag, text)
  const { bytes, start } = begun(tag, Buffer.byteLength(text))
  bytes.write(text, start)
  return bytes
}

/**
 * The same as `tlv(tag, first, octets(text))` without a buffer in between: a search for one address consists of
 * several of these.
 */
export function tlvWithText(tag: number, first: Buffer, text: string): Buffer {
  const size = Buffer.byteLength(text)
  const { bytes, start } = begun(tag, first.length + headerLength(size) + size)
  bytes.set(first, start)
  bytes.write(text, writeHeader(bytes, start + first.length, TAG.octets, size))
  return bytes
}

/** Encodes an INTEGER from 0 to 2³¹−1. */
export function integer(value: number, tag: number = TAG.integer): Buffer {
  const bytes = [value & 0xff]
  for (let rest = value >>> 8; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff)
  if ((bytes[0] ?? 0) & 0x80) bytes.unshift(0)
  return tlv(tag, Buffer.from(bytes))
}

/** Encodes an ENUMERATED from 0 to 127. */
export function enumerated(value: number): Buffer {
  return integer(value, TAG.enumerated)
}

export function boolean(value: boolean, tag: number = TAG.boolean): Buffer {
  return tlv(tag, Buffer.from([value ? 0xff : 0]))
}

/** Writes tag and length, and leaves room for a value of that length. */
function begun(tag: number, length: number): { readonly bytes: Buffer; readonly start: number } {
  const bytes = Buffer.allocUnsafe(headerLength(length) + length)
  return { bytes, start: writeHeader(bytes, 0, tag, length) }
}

/** The bytes that tag and length take. */
function headerLength(length: number): number {
  let count = 2
  if (length >= 0x80) for (let rest = length; rest > 0; rest >>>= 8) count++
  return count
}

/** @returns where the value starts */
function writeHeader(bytes: Buffer, at: number, tag: number, length: number): number {
  const count = headerLength(length) - 2
  const start = at + 2 + count
  bytes[at] = tag
  bytes[at + 1] = count === 0 ? length : 0x80 | count
  for (let i = 0; i < count; i++) bytes[start - 1 - i] = (length >>> (8 * i)) & 0xff
  return start
}

/** Steps through the values in a part of a buffer. */
export class BerReader {
  /** Where the next value starts. */
  at: number
  /** Start and end (exclusive) of the value that `next` found last. */
  start = 0
  end = 0

  constructor(
    readonly bytes: Buffer,
    at: number,
    readonly limit: number,
  ) {
    this.at = at
  }

  get more(): boolean {
    return this.at < this.limit
  }

  /** Steps over one value. @returns its tag */
  next(): number {
    const { bytes, limit } = this
    let at = this.at
    if (at + 2 > limit) throw new MalformedBer('a value is cut off')
    const tag = bytes[at++] as number
    let length = bytes[at++] as number
    if (length > 0x7f) {
      let count = length & 0x7f
      if (count === 0 || count > 4 || at + count > limit) throw new MalformedBer('a bad length')
      for (length = 0; count > 0; count--) length = length * 256 + (bytes[at++] as number)
    }
    if (length > limit - at)
      throw new MalformedBer('a value is longer than the element that contains it')
    this.start = at
    this.end = at + length
    this.at = this.end
    return tag
  }

  /** Steps over one value, which must have this tag. */
  expect(tag: number): this {
    const found = this.next()
    if (found !== tag) {
      throw new MalformedBer(`expected tag 0x${tag.toString(16)}, got 0x${found.toString(16)}`)
    }
    return this
  }

  /** A reader for the inside of the value that `next` found last. */
  inside(): BerReader {
    return new BerReader(this.bytes, this.start, this.end)
  }

  /** The value that `next` found last as text. */
  text(): string {
    return this.bytes.toString('utf8', this.start, this.end)
  }

  /** The value that `next` found last as a non-negative number of at most 31 bits. */
  number(): number {
    const { bytes, start, end } = this
    if (end - start < 1 || end - start > 4 || (bytes[start] as number) > 0x7f) {
      throw new MalformedBer('a bad number')
    }
    let value = 0
    for (let at = start; at < end; at++) value = value * 256 + (bytes[at] as number)
    return value
  }
}

/**
 * @returns the length of the whole value that starts at `at`, or 0 if too few bytes have arrived
 * @throws MalformedBer for anything that does not start like an LDAP message
 */
export function messageLength(bytes: Buffer, at: number): number {
  const have = bytes.length - at
  if (have < 1) return 0
  if (bytes[at] !== TAG.sequence) throw new MalformedBer('not an LDAP message')
  if (have < 2) return 0
  const first = bytes[at + 1] as number
  if (first < 0x80) return 2 + first
  const count = first & 0x7f
  if (count === 0 || count > 4) throw new MalformedBer('a bad length')
  if (have < 2 + count) return 0
  let length = 0
  for (let i = 0; i < count; i++) length = length * 256 + (bytes[at + 2 + i] as number)
  return 2 + count + length
}

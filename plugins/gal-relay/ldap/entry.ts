// An entry as a search returns it (RFC 4511 §4.5.2).
import { type BerReader, TAG } from './ber'
import { DirectoryError, printable } from './directory-error'

export interface Attribute {
  /** As the server writes it, options included: `proxyAddresses;range=0-1499`. */
  readonly type: string
  readonly values: readonly Buffer[]
}

export interface Entry {
  readonly dn: string
  readonly attributes: readonly Attribute[]
}

/** The number of values, where each attribute counts as one more. */
export function sizeOf({ attributes }: Entry): number {
  return attributes.reduce((sum, { values }) => sum + 1 + values.length, 0)
}

/**
 * @param reader inside a SearchResultEntry
 * @param most the most attributes and values to read
 * @throws MalformedBer
 * @throws DirectoryError `oversize` if there are more
 */
export function readEntry(reader: BerReader, most: number): Entry {
  const dn = reader.expect(TAG.octets).text()
  let left = most
  const count = () => {
    if (--left >= 0) return
    const text = `${printable(dn)} has more than ${most} values`
    throw new DirectoryError('oversize', text)
  }
  const attributes: Attribute[] = []
  const list = reader.expect(TAG.sequence).inside()
  while (list.more) {
    count()
    const attribute = list.expect(TAG.sequence).inside()
    const type = attribute.expect(TAG.octets).text()
    const values: Buffer[] = []
    const set = attribute.expect(TAG.set).inside()
    while (set.more) {
      count()
      set.expect(TAG.octets)
      values.push(set.bytes.subarray(set.start, set.end))
    }
    attributes.push({ type, values })
  }
  return { dn, attributes }
}

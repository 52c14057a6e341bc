// An entry as a search returns it (RFC 4511 §4.5.2).
import { type BerReader, TAG } from './ber'

export interface Attribute {
  /** As the server writes it, options included: `proxyAddresses;range=0-1499`. */
  readonly type: string
  readonly values: readonly Buffer[]
}

export interface Entry {
  readonly dn: string
  readonly attributes: readonly Attribute[]
}

/**
 * @param reader inside a SearchResultEntry
 * @throws MalformedBer
 */
export function readEntry(reader: BerReader): Entry {
  const dn = reader.expect(TAG.octets).text()
  const attributes: Attribute[] = []
  const list = reader.expect(TAG.sequence).inside()
  while (list.more) {
    const attribute = list.expect(TAG.sequence).inside()
    const type = attribute.expect(TAG.octets).text()
    const values: Buffer[] = []
    const set = attribute.expect(TAG.set).inside()
    while (set.more) {
      set.expect(TAG.octets)
      values.push(set.bytes.subarray(set.start, set.end))
    }
    attributes.push({ type, values })
  }
  return { dn, attributes }
}

// What an entry's addresses are: which attribute values are SMTP addresses, and how each attribute
// writes them. X.400, SIP, EUM and other kinds of address in the same attribute are none of ours.
import type { Entry } from './entry'

/** How an attribute writes an SMTP address. */
const PREFIX: Readonly<Record<string, string>> = {
  // Exchange 2000 and later: `SMTP:` is the primary address, `smtp:` a secondary one (KB 313992)
  proxyaddresses: 'smtp:',
  targetaddress: 'smtp:',
  // Exchange 5.5, RFC 1274 §9.3.19
  othermailbox: 'smtp$',
}

/** What stands before an SMTP address in a value of this attribute; nothing, in most. */
export function addressPrefix(attribute: string): string {
  return PREFIX[attribute.toLowerCase()] ?? ''
}

/** The SMTP address that a value of this attribute holds, if it holds one. */
export function addressIn(attribute: string, value: string): string | undefined {
  const prefix = addressPrefix(attribute)
  // Directories find an address without the blanks around it.
  if (!prefix) return value.trim()
  return value.slice(0, prefix.length).toLowerCase() === prefix
    ? value.slice(prefix.length).trim()
    : undefined
}

/** The SMTP addresses that an entry shows in these attributes (names in lower case). */
export function addressesOf(entry: Entry, attributes: ReadonlySet<string>): string[] {
  const found: string[] = []
  for (const { type, values } of entry.attributes) {
    const name = baseName(type)
    if (!attributes.has(name)) continue
    for (const value of values) {
      const address = addressIn(name, value.toString('utf8'))
      if (address !== undefined) found.push(address)
    }
  }
  return found
}

/** Whether the attribute's (only) value is TRUE (RFC 4517 §3.3.3). */
export function isTrue(entry: Entry, attribute: string): boolean {
  return entry.attributes.some(
    ({ type, values }) =>
      baseName(type) === attribute && values[0]?.toString('latin1').toUpperCase() === 'TRUE',
  )
}

/** The attribute's name in lower case, without options such as `;lang-en` (RFC 4512 §2.5). */
export function baseName(type: string): string {
  const options = type.indexOf(';')
  return (options < 0 ? type : type.slice(0, options)).toLowerCase()
}

// Tells which attribute values are SMTP addresses, and in which forms a directory may hold one. Values
// name their own type: X400:, SIP:, EUM: and other types of address in the same attribute are not SMTP
// addresses.
import type { Entry } from '../../ldap/entry'

/** What may precede an SMTP address in a value; '' for nothing. */
type Form = '' | 'smtp:' | 'smtp$'

const ALONE: readonly Form[] = ['']
/** Exchange 2000 and later: `SMTP:` is the primary address, `smtp:` a secondary one (KB 313992). */
const TYPED: readonly Form[] = ['smtp:', '']

/** Attributes whose values take other forms than usual; names in lower case. */
const FORMS: Readonly<Record<string, readonly Form[]>> = {
  mail: ALONE,
  rfc822mailbox: ALONE,
  '0.9.2342.19200300.100.1.3': ALONE,
  // Active Directory: an address alone or with `smtp:`; Exchange 5.5 and RFC 1274 §9.3.19: `smtp$`.
  othermailbox: ['', 'smtp:', 'smtp$'],
}

const formsOf = (attribute: string): readonly Form[] => FORMS[attribute] ?? TYPED

/** In lower case. If it is among the configured attributes, X.500 addresses count too. */
export const LEGACY_DN = 'legacyexchangedn'
/** Marks an X.500 address among mail addresses; no mail domain begins with a dot. */
export const X500_DOMAIN = '.x500'
const X500_SUFFIX = `@${X500_DOMAIN}`
const X500 = 'x500:'

/** The type of a value, such as `SIP:` or `x500:`. A colon in a local part must be quoted. */
const TYPE = /^[^"@\s]+:/
/** Exchange 5.5's address types; any other word before a dollar sign is part of a local part. */
const TYPE_OF_OTHER_MAILBOX = /^(ms|msa|x400|x500|ccmail|notes|gwise|profs|snads|fax|sip|eum)\$/i

/** What every type ends with, and blanks, which are ignored around a value. */
const MAY_LOOK_TYPED = /[:$\s]/

/** Bytes or characters. Nobody can ask for a longer address, and a server may refuse to search for it. */
export const LONGEST_VALUE = 1000

/** @returns the values to search for: each form in which this attribute may hold the address */
export const valuesFor = (attribute: string, address: string) => valuesIn(attribute)(address)

/** {@link valuesFor} for many addresses. */
export function valuesIn(attribute: string): (address: string) => string[] {
  const name = attribute.toLowerCase()
  const forms = formsOf(name)
  return (address) => {
    const x500 = address.endsWith(X500_SUFFIX) && address.slice(0, -X500_SUFFIX.length)
    if (name === LEGACY_DN) return x500 ? [x500] : []
    if (x500) return forms === ALONE ? [] : [X500 + x500]
    const values = forms.map((form) => form + address)
    // A value of another type would find somebody else's entry: `sip:ann@…` is Ann's SIP address.
    return MAY_LOOK_TYPED.test(address)
      ? values.filter((value) => addressIn(name, value) === address)
      : values
  }
}

/**
 * @param attribute in lower case
 * @param withX500 whether X.500 addresses count
 * @returns the address that a value of this attribute holds, if it holds one that counts
 */
export function addressIn(attribute: string, value: string, withX500 = false): string | undefined {
  // Directories ignore blanks around an address when they search.
  const text = value.trim()
  if (attribute === LEGACY_DN) return withX500 && text ? `${text}@${X500_DOMAIN}` : undefined
  const lower = text.slice(0, X500.length).toLowerCase()
  const forms = formsOf(attribute)
  const form = forms.find((form) => form !== '' && lower === form)
  if (form !== undefined) return text.slice(form.length)
  if (withX500 && lower === X500 && forms !== ALONE) {
    return `${text.slice(X500.length)}@${X500_DOMAIN}`
  }
  const isTyped =
    TYPE.test(text) || (attribute === 'othermailbox' && TYPE_OF_OTHER_MAILBOX.test(text))
  return isTyped ? undefined : text
}

/** Attribute names in the form that {@link addressesOf} takes. */
export const lowerCaseNames = (names: readonly string[]): ReadonlySet<string> =>
  new Set(names.map((name) => name.toLowerCase()))

/** The addresses that an entry shows in these attributes (names in lower case). */
export function addressesOf(entry: Entry, attributes: ReadonlySet<string>): string[] {
  return addressValuesOf(entry, attributes).map(({ address }) => address)
}

/** A value exactly as the entry holds it, so that it finds the entry however its attribute compares. */
export interface AddressValue {
  readonly address: string
  /** In lower case. */
  readonly attribute: string
  readonly value: string
}

/** Like {@link addressesOf}, with the values that hold the addresses. */
export function addressValuesOf(entry: Entry, attributes: ReadonlySet<string>): AddressValue[] {
  const found: AddressValue[] = []
  firstAddress(entry, attributes, (address, attribute, value) => {
    found.push({ address, attribute, value })
    return false
  })
  return found
}

/** The first of them whose address is the right one; the others are not looked at. */
export function firstAddress(
  entry: Entry,
  attributes: ReadonlySet<string>,
  isRight: (address: string, attribute: string, value: string) => boolean,
): AddressValue | undefined {
  const withX500 = attributes.has(LEGACY_DN)
  for (const { type, values } of entry.attributes) {
    const name = baseName(type)
    if (!attributes.has(name)) continue
    for (const value of values) {
      const text = value.toString('utf8')
      const address = addressIn(name, text, withX500)
      if (address !== undefined && isRight(address, name, text)) {
        return { address, attribute: name, value: text }
      }
    }
  }
  return undefined
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

/** The DN of the entry above, in lower case. */
export const containerOf = (dn: string): string =>
  dn.toLowerCase().replace(/^(?:\\.|[^,\\])*,?/, '')

// Turns the directories that another system asks into the one that [ldap] and [gal] describe.
import { type AddressFilter, anyOf, splitAddressFilter } from './address-filter'
import { type Draft, differs, leaveOut, take } from './ini'

/** One place where another system looks recipients up. */
export interface Lookup {
  /** The file, and the section or map in it. */
  readonly from: string
  /** `ldap://host:port` */
  readonly urls: readonly string[]
  readonly base: string
  /** `sub` by default. */
  readonly scope?: string
  /** With `%s` for the address. */
  readonly filter: string
  /** An entry with none of these attributes does not count. */
  readonly mustHave?: readonly string[]
  readonly bindDn?: string
  readonly bindPassword?: string
  readonly starttls?: boolean
  /** Further keys of [ldap]. */
  readonly more?: Readonly<Record<string, string>>
}

/** An ini drops a value's outer blanks and final backslash; nobody could see invisible characters. */
const WRITABLE = /^(?! )[\p{L}\p{M}\p{N}\p{P}\p{S} ]*(?<![ \\])$/u

/** Look-ups with the same servers and account use one directory. */
const identity = ({ urls, bindDn = '', bindPassword = '', starttls = false }: Lookup) =>
  JSON.stringify([urls, bindDn, bindPassword, starttls])

/** @returns the look-ups that were taken */
export function takeLookups(draft: Draft, lookups: readonly Lookup[]): readonly Lookup[] {
  const taken: { readonly lookup: Lookup; readonly split: AddressFilter }[] = []
  for (const lookup of lookups) {
    const [first] = taken
    if (first && identity(first.lookup) !== identity(lookup)) {
      leaveOut(
        draft,
        lookup.from,
        `uses another server or account than ${first.lookup.from}: only one directory is imported; its recipients would not be found`,
      )
      continue
    }
    const split = splitAddressFilter(lookup.filter)
    if ('problem' in split) {
      leaveOut(
        draft,
        lookup.from,
        `the filter ${lookup.filter} ${split.problem}; recipients that only it finds would be refused`,
      )
      continue
    }
    const { scope = 'sub' } = lookup
    if (scope !== 'sub') {
      differs(draft, lookup.from, `scope ${scope}: here the whole subtree is searched`)
    }
    for (const lost of split.lost) {
      leaveOut(
        draft,
        lookup.from,
        `${lost} is not a comparison with the whole address; recipients that only it finds would be refused`,
      )
    }
    taken.push({ lookup, split })
  }
  if (taken.length === 0) return []
  takeServer(draft, taken[0]?.lookup as Lookup)
  const bases = new Map(taken.map(({ lookup }) => [lookup.base, lookup.from]))
  const key = bases.size > 1 ? 'base[]' : 'base'
  for (const [base, from] of bases) take(draft, from, 'ldap', key, base)
  for (const { lookup, split } of taken) {
    for (const name of split.attributes) take(draft, lookup.from, 'gal', 'attributes[]', name)
  }
  takeFilter(draft, taken)
  return taken.map(({ lookup }) => lookup)
}

function takeServer(draft: Draft, lookup: Lookup): void {
  const { from, urls, bindDn, bindPassword, starttls, more = {} } = lookup
  const ldap = (key: string, value: string, comment?: string) =>
    take(draft, from, 'ldap', key, value, { comment })
  for (const url of urls) ldap('url[]', url)
  if (bindDn) {
    ldap('bind_dn', bindDn)
    if (bindPassword && WRITABLE.test(bindPassword)) {
      ldap(
        'bind_password',
        bindPassword,
        'better in a file of its own: bind_password_file = gal_relay.password',
      )
    } else {
      ldap('bind_password_file', 'gal_relay.password')
      differs(
        draft,
        from,
        `the password ${bindPassword ? 'cannot be written in an ini file' : 'is not in clear text there'}: write it into config/gal_relay.password, readable by Haraka's user alone`,
      )
    }
  }
  if (starttls) ldap('starttls', 'true')
  for (const [key, value] of Object.entries(more)) ldap(key, value)
}

function takeFilter(
  draft: Draft,
  taken: readonly { readonly lookup: Lookup; readonly split: AddressFilter }[],
): void {
  const filters = taken.map(({ lookup: { mustHave = [] }, split }) => {
    const lower = split.attributes.map((name) => name.toLowerCase())
    const isThere =
      mustHave.length === 0 || mustHave.some((name) => lower.includes(name.toLowerCase()))
    const presence = isThere ? [] : [anyOf(mustHave.map((name) => `(${name}=*)`))]
    const parts = [...(split.filter ? [split.filter] : []), ...presence]
    return parts.length > 1 ? `(&${parts.join('')})` : (parts[0] ?? '')
  })
  const froms = taken.map(({ lookup }) => lookup.from).join(', ')
  // A look-up without a condition accepts every entry.
  if (!filters.includes('')) take(draft, froms, 'gal', 'filter', anyOf(filters))
  const alike = (texts: readonly string[]) => new Set(texts).size === 1
  const names = taken.map(({ split }) => [...split.attributes].sort().join().toLowerCase())
  if (!alike(names)) {
    differs(
      draft,
      froms,
      'each has attributes and conditions of its own; here every attribute counts in every entry that one of the filters lets through',
    )
  }
}

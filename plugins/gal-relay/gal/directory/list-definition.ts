// Defines which entries of a directory are in its list and which attributes hold their addresses, in the
// form that searches need. It is derived once from the settings and passed on as one value; a server that
// has other names for the attributes gets a definition of its own.
import type { Entry } from '../../ldap/entry'
import { and, filterFromText, or, present } from '../../ldap/filter'
import type { DEREFERENCE } from '../../ldap/search-request'
import type { GalSettings, LdapSettings } from '../../settings/settings'
import { type MailboxAttributes, mailboxAttributes } from '../mailbox-values'
import { baseName, lowerCaseNames } from './entry-addresses'

export interface ListDefinition {
  /** The attributes that hold addresses, by the names that searches use. */
  readonly attributes: readonly string[]
  /** The same attributes and their subtypes, by the names that entries show, in lower case. */
  readonly names: ReadonlySet<string>
  /** The attribute that says "authenticated senders only", in lower case; '' for none. */
  readonly flag: string
  /** The attributes that say where mail goes; undefined if none do. */
  readonly mailbox: MailboxAttributes | undefined
  /** All attributes that are requested: addresses, flag, and where mail goes. */
  readonly wanted: readonly string[]
  /** Which entries count, as in the settings. */
  readonly filterText: string
  /** The same, encoded; undefined if all entries count. */
  readonly filter: Buffer | undefined
  /** DNs; '' for the top. */
  readonly bases: readonly string[]
  readonly dereference: keyof typeof DEREFERENCE
}

/** @throws Error if the filter is invalid, which the settings have already ruled out */
export function listDefinition(
  gal: Pick<
    GalSettings,
    | 'attributes'
    | 'filter'
    | 'authenticated_only_attribute'
    | 'host_attribute'
    | 'routing_attribute'
  >,
  ldap: Pick<LdapSettings, 'base' | 'dereference'>,
): ListDefinition {
  const { attributes, filter: filterText } = gal
  const flag = gal.authenticated_only_attribute.toLowerCase()
  const mailbox = mailboxAttributes(gal)
  return {
    attributes,
    names: lowerCaseNames(attributes),
    flag,
    mailbox,
    wanted: wantedOf(attributes, { flag, mailbox }),
    filterText,
    filter: filterText === '(objectClass=*)' ? undefined : filterFromText(filterText),
    bases: ldap.base,
    dereference: ldap.dereference,
  }
}

/** The same list, on a server that has these names for the attributes. */
export function withAttributes(
  list: ListDefinition,
  attributes: readonly string[],
  shownAs: readonly string[],
): ListDefinition {
  const wanted = wantedOf(attributes, list)
  return { ...list, attributes, names: lowerCaseNames(shownAs), wanted }
}

/**
 * Repeats an entry's attributes under the names that the settings use.
 *
 * @param names maps the server's names, in lower case, to those of the settings
 */
export function underOurNames(entry: Entry, names: ReadonlyMap<string, string>): Entry {
  if (names.size === 0) return entry
  const again = entry.attributes.flatMap(({ type, values }) => {
    const name = names.get(baseName(type))
    return name === undefined ? [] : [{ type: name, values }]
  })
  return again.length > 0 ? { ...entry, attributes: [...entry.attributes, ...again] } : entry
}

/** Restricts a filter to entries that the list's own filter matches. */
export function matching({ filter: own }: ListDefinition, filter: Buffer): Buffer {
  return own ? and(own, filter) : filter
}

/** Matches the list's entries that have an address of any type. */
export function withAddress(list: ListDefinition): Buffer {
  return matching(list, or(...list.attributes.map(present)))
}

function wantedOf(
  attributes: readonly string[],
  { flag, mailbox }: Pick<ListDefinition, 'flag' | 'mailbox'>,
): readonly string[] {
  const beside = [flag, mailbox?.host, mailbox?.address].filter((name) => name)
  return [...attributes, ...(beside as string[])]
}

// Which entries of a directory are in its list, and where their addresses are, in the form in which
// servers are asked. Worked out once from the settings, and handed on as one value; a server that has
// other names for the attributes gets a definition of its own.
import type { Entry } from '../../ldap/entry'
import { and, filterFromText, or, present } from '../../ldap/filter'
import type { DEREFERENCE } from '../../ldap/search-request'
import type { GalSettings, LdapSettings } from '../../settings/settings'
import { type MailboxAttributes, mailboxAttributes } from '../mailbox-values'
import { baseName, lowerCaseNames } from './entry-addresses'

export interface ListDefinition {
  /** Where an entry's addresses are, by the names under which they are asked for. */
  readonly attributes: readonly string[]
  /** The same by the names under which entries show them: in lower case, with those that derive from them. */
  readonly names: ReadonlySet<string>
  /** The attribute that says "authenticated senders only", in lower case; '' for none. */
  readonly flag: string
  /** The attributes that say where mail goes; undefined when none do. */
  readonly mailbox: MailboxAttributes | undefined
  /** All that is asked for: addresses, flag, and where mail goes. */
  readonly wanted: readonly string[]
  /** Which entries count, as in the settings. */
  readonly filterText: string
  /** The same, encoded; undefined when all do. */
  readonly filter: Buffer | undefined
  /** DNs; '' for the top. */
  readonly bases: readonly string[]
  readonly dereference: keyof typeof DEREFERENCE
}

/** @throws Error when the filter is none; the settings have checked it */
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

/** The same list on a server that has these names for the attributes. */
export function withAttributes(
  list: ListDefinition,
  attributes: readonly string[],
  shownAs: readonly string[],
): ListDefinition {
  const wanted = wantedOf(attributes, list)
  return { ...list, attributes, names: lowerCaseNames(shownAs), wanted }
}

/**
 * An entry with its attributes under the names of the settings as well.
 *
 * @param names the settings' name by the server's, in lower case
 */
export function underOurNames(entry: Entry, names: ReadonlyMap<string, string>): Entry {
  if (names.size === 0) return entry
  const again = entry.attributes.flatMap(({ type, values }) => {
    const name = names.get(baseName(type))
    return name === undefined ? [] : [{ type: name, values }]
  })
  return again.length > 0 ? { ...entry, attributes: [...entry.attributes, ...again] } : entry
}

/** Those of the list's entries that match this filter too. */
export function matching({ filter: own }: ListDefinition, filter: Buffer): Buffer {
  return own ? and(own, filter) : filter
}

/** Entries that have an address of whatever type. */
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

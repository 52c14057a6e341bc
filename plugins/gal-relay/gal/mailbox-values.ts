// What the entries of a recipient say of where its mail goes.

import type { Entry } from '../ldap/entry'
import type { Mailbox } from '../routing/mailbox'
import type { GalSettings } from '../settings/settings'
import { baseName } from './directory/entry-addresses'

/** Which attributes say so, names in lower case; '' where none does. */
export interface MailboxAttributes {
  readonly host: string
  readonly address: string
}

/** @returns undefined where the directory is not asked for it */
export function mailboxAttributes(
  gal: Pick<GalSettings, 'host_attribute' | 'routing_attribute'>,
): MailboxAttributes | undefined {
  const { host_attribute: host, routing_attribute: address } = gal
  if (!host && !address) return undefined
  return { host: host.toLowerCase(), address: address.toLowerCase() }
}

/**
 * @param holders all entries with the recipient's address
 * @returns undefined where none of them says anything
 */
export function mailboxOf(
  holders: readonly Entry[],
  { host, address }: MailboxAttributes,
): Mailbox | undefined {
  // An entry that leaves out what another says contradicts it too.
  const all = holders.map((entry) => {
    const hosts = valuesOf(entry, host)
    const addresses = valuesOf(entry, address).map((value) => value.replace(/^smtp:/i, ''))
    return { hosts: distinct(hosts), addresses: distinct(addresses) }
  })
  const [first] = all
  if (!first) return undefined
  const isAlike = all.every(
    ({ hosts, addresses }) =>
      hosts.size <= 1 &&
      addresses.size <= 1 &&
      keyOf(hosts) === keyOf(first.hosts) &&
      keyOf(addresses) === keyOf(first.addresses),
  )
  if (!isAlike) return { isAmbiguous: true }
  const [oneHost] = first.hosts.values()
  const [oneAddress] = first.addresses.values()
  if (oneHost === undefined && oneAddress === undefined) return undefined
  return {
    ...(oneHost === undefined ? {} : { host: oneHost }),
    ...(oneAddress === undefined ? {} : { address: oneAddress }),
  }
}

/** By how they compare: without case. */
const distinct = (values: readonly string[]) =>
  new Map(values.map((value) => [value.toLowerCase(), value]))

const keyOf = (values: ReadonlyMap<string, string>) => [...values.keys()].join('\n')

function valuesOf({ attributes }: Entry, name: string): string[] {
  if (!name) return []
  return attributes
    .filter(({ type }) => baseName(type) === name)
    .flatMap(({ values }) => values.map((value) => value.toString('utf8').trim()))
    .filter(Boolean)
}

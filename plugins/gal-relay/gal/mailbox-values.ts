// Finds out from a recipient's entries where its mail goes.

import type { Entry } from '../ldap/entry'
import type { Mailbox } from '../routing/mailbox'
import type { GalSettings } from '../settings/settings'
import { baseName } from './directory/entry-addresses'

/** The attributes that say where mail goes, in lower case; '' for none. */
export interface MailboxAttributes {
  readonly host: string
  readonly address: string
}

/** @returns `undefined` if the directory is not asked where mail goes */
export function mailboxAttributes(
  gal: Pick<GalSettings, 'host_attribute' | 'routing_attribute'>,
): MailboxAttributes | undefined {
  const { host_attribute: host, routing_attribute: address } = gal
  if (!host && !address) return undefined
  return { host: host.toLowerCase(), address: address.toLowerCase() }
}

/** Longer values, in bytes, are neither hosts nor addresses, and must not take up memory. */
const LONGEST = 1024

export const AMBIGUOUS: Mailbox = { isAmbiguous: true }

/**
 * @param holders all entries with the recipient's address
 * @returns `undefined` if none of them says where the mail goes
 */
export function mailboxOf(
  holders: readonly Entry[],
  attributes: MailboxAttributes,
): Mailbox | undefined {
  const [first, ...others] = holders.map((entry) => mailboxIn(entry, attributes))
  if (first?.isAmbiguous) return first
  // An entry that omits what another one says contradicts it too.
  const key = mailboxKey(first)
  return others.every((other) => mailboxKey(other) === key) ? first : AMBIGUOUS
}

/** @returns what one entry says; `undefined` if it says nothing */
export function mailboxIn(entry: Entry, { host, address }: MailboxAttributes): Mailbox | undefined {
  const hosts = distinct(valuesOf(entry, host))
  const addresses = distinct(valuesOf(entry, address).map((value) => value.replace(/^smtp:/i, '')))
  if (hosts.size > 1 || addresses.size > 1) return AMBIGUOUS
  const [oneHost] = hosts.values()
  const [oneAddress] = addresses.values()
  if (oneHost === undefined && oneAddress === undefined) return undefined
  if (isTooLong(oneHost) || isTooLong(oneAddress)) return AMBIGUOUS
  return {
    ...(oneHost === undefined ? {} : { host: oneHost }),
    ...(oneAddress === undefined ? {} : { address: oneAddress }),
  }
}

/** The form for comparing what two entries say, ignoring case. */
export function mailboxKey({ host, address, isAmbiguous }: Mailbox = {}): string {
  return JSON.stringify([host?.toLowerCase(), address?.toLowerCase(), isAmbiguous])
}

const isTooLong = (value = '') => Buffer.byteLength(value) > LONGEST

/** The values without those that differ from another in case only. */
const distinct = (values: readonly string[]) =>
  new Map(values.map((value) => [value.toLowerCase(), value]))

function valuesOf({ attributes }: Entry, name: string): string[] {
  if (!name) return []
  return attributes
    .filter(({ type }) => baseName(type) === name)
    .flatMap(({ values }) => values.map((value) => value.toString('utf8').trim()))
    .filter(Boolean)
}

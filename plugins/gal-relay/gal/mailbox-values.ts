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

/** Longer values, in bytes, are neither hosts nor addresses; nobody is to be given the memory. */
const LONGEST = 1024

const AMBIGUOUS: Mailbox = { isAmbiguous: true }

/**
 * @param holders all entries with the recipient's address
 * @returns undefined where none of them says anything
 */
export function mailboxOf(
  holders: readonly Entry[],
  attributes: MailboxAttributes,
): Mailbox | undefined {
  const [first, ...others] = holders.map((entry) => mailboxIn(entry, attributes))
  if (first?.isAmbiguous) return first
  // An entry that leaves out what another says contradicts it too.
  const key = mailboxKey(first)
  return others.every((other) => mailboxKey(other) === key) ? first : AMBIGUOUS
}

/** @returns what one entry says; undefined where it says nothing */
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

/** The form in which what two entries say compares: without case. */
export function mailboxKey({ host, address, isAmbiguous }: Mailbox = {}): string {
  return JSON.stringify([host?.toLowerCase(), address?.toLowerCase(), isAmbiguous])
}

const isTooLong = (value = '') => Buffer.byteLength(value) > LONGEST

/** By how they compare. */
const distinct = (values: readonly string[]) =>
  new Map(values.map((value) => [value.toLowerCase(), value]))

function valuesOf({ attributes }: Entry, name: string): string[] {
  if (!name) return []
  return attributes
    .filter(({ type }) => baseName(type) === name)
    .flatMap(({ values }) => values.map((value) => value.toString('utf8').trim()))
    .filter(Boolean)
}

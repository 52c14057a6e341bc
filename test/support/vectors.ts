// The rulebook's cases (test/vectors/ims-routing.json), and the directory entries that they speak of.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { REPOSITORY } from './haraka'
import type { SlapdEntry } from './slapd'

export interface Case {
  readonly client: string
  readonly local: string
  readonly from?: string
  readonly auth?: string
  readonly to: string | readonly string[]
  readonly reply: string | readonly string[]
}

export interface Scenario {
  readonly name: string
  readonly source: string
  /** gal_relay.ini without `[ldap]` */
  readonly ini: string
  readonly gal: readonly GalEntry[]
  readonly host_list?: readonly string[]
  readonly cases: readonly Case[]
}

type GalEntry = string | Readonly<Record<string, string | readonly string[]>>

const file = path.join(REPOSITORY, 'test', 'vectors', 'ims-routing.json')
export const { scenarios } = JSON.parse(readFileSync(file, 'utf8')) as { scenarios: Scenario[] }

/** Of the accounts that cases authenticate as. */
export const PASSWORDS = { carol: 'carol-secret', guest: 'guest-secret' }

/** Each scenario's address list is a branch of its own in one directory. */
export function unitOf(index: number): string {
  return `ou=scenario ${index},dc=corp,dc=test`
}

export function entriesOf({ gal }: Scenario, index: number): SlapdEntry[] {
  const dn = unitOf(index)
  const unit = {
    dn,
    objectClass: 'organizationalUnit',
    ou: `scenario ${index}`,
    cn: undefined,
    sn: undefined,
  }
  const recipients = gal.map((entry, number) => ({
    dn: `uid=r${number},${dn}`,
    ...(typeof entry === 'string' ? { mail: entry, proxyAddresses: `SMTP:${entry}` } : entry),
  }))
  return [unit, ...recipients]
}

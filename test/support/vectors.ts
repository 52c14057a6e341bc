// The rulebook's cases (test/vectors/), and the directory entries that they speak of.
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
  /** What `gal-relay explain --json` says beside the reply. */
  readonly path?: string
  /** With the port, or without it where it is the default. */
  readonly next_hops?: readonly string[]
  readonly delivered_as?: string
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

function scenariosIn(name: string): readonly Scenario[] {
  const text = readFileSync(path.join(REPOSITORY, 'test', 'vectors', name), 'utf8')
  return (JSON.parse(text) as { scenarios: Scenario[] }).scenarios
}

export const scenarios: readonly Scenario[] = [
  ...scenariosIn('ims-routing.json'),
  // Those of several directories and of mailbox servers (§6, §7) need what the plugin does not have.
  ...scenariosIn('directories.json').filter(({ source }) => !/§[67]/.test(source)),
]

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

// The cases of the rulebook (test/vectors/) and their directory entries.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { REPOSITORY } from './haraka'
import { type SlapdEntry, unitEntry } from './slapd'

export interface Case {
  readonly client: string
  readonly local: string
  readonly from?: string
  readonly auth?: string
  readonly to: string | readonly string[]
  readonly reply: string | readonly string[]
  /** What `gal-relay explain --json` says besides the reply. */
  readonly path?: string
  /** With or without the default port. */
  readonly next_hops?: readonly string[]
  readonly delivered_as?: string
  readonly directory?: string
}

export interface Scenario {
  readonly name: string
  readonly source: string
  /** gal_relay.ini without `[ldap]` */
  readonly ini: string
  readonly gal: readonly GalEntry[]
  readonly host_list?: readonly string[]
  /** The directories of `[directory NAME]` sections; `down`: nothing listens there. */
  readonly directories?: Readonly<
    Record<string, { readonly gal: readonly GalEntry[]; readonly down?: boolean }>
  >
  /** false: there is no default directory. */
  readonly ldap?: boolean
  readonly cases: readonly Case[]
}

type GalEntry = string | Readonly<Record<string, string | readonly string[]>>

function read(name: string): Scenario[] {
  const file = path.join(REPOSITORY, 'test', 'vectors', name)
  const { scenarios } = JSON.parse(readFileSync(file, 'utf8')) as { scenarios: Scenario[] }
  return scenarios
}

export const scenarios = read('ims-routing.json')
export const directoryScenarios = [...read('directories.json'), ...read('edges.json')]

/** The passwords of the accounts that cases authenticate as. */
export const PASSWORDS = { carol: 'carol-secret', guest: 'guest-secret' }

/** The branch of one directory that has the address list of a scenario. */
export function unitOf(index: number): string {
  return unitNamed(`scenario ${index}`)
}

/** The branch that has one of the directories that a scenario names. */
export function unitOfDirectory(index: number, directory: string): string {
  return unitNamed(`scenario ${index} ${directory}`)
}

const unitNamed = (name: string) => `ou=${name},dc=corp,dc=test`

export function entriesOf({ gal }: Scenario, index: number): SlapdEntry[] {
  return branch(`scenario ${index}`, gal)
}

/** The entries of all its directories. */
export function allEntriesOf(scenario: Scenario, index: number): SlapdEntry[] {
  const others = Object.entries(scenario.directories ?? {})
  return [
    ...entriesOf(scenario, index),
    ...others.flatMap(([directory, { gal }]) => branch(`scenario ${index} ${directory}`, gal)),
  ]
}

function branch(name: string, gal: readonly GalEntry[]): SlapdEntry[] {
  const dn = unitNamed(name)
  const recipients = gal.map((entry, number) => ({
    dn: `uid=r${number},${dn}`,
    ...(typeof entry === 'string' ? { mail: entry, proxyAddresses: `SMTP:${entry}` } : entry),
  }))
  return [unitEntry(dn), ...recipients]
}

// gal-relay check: everything that can be wrong with an install, at once: its settings, its place among
// the plugins, its next hops, and the directory servers.
import { accessSync, constants, existsSync } from 'node:fs'
import path from 'node:path'
import { Command } from 'commander'
import { exposedFiles } from '../advice/exposed-files'
import { notListed, openRelayBefore, pluginOrder, proxiedTwice } from '../advice/plugin-order'
import { doubts, openRelay, summary } from '../advice/startup'
import { unreachable } from '../advice/unreachable'
import { whoMayRelay } from '../advice/who-may-relay'
import { HostAddresses } from '../delivery/host-addresses'
import { listDefinition } from '../gal/directory/list-definition'
import { type Finding, probeDirectory } from '../gal/directory/probe'
import { SKEW } from '../gal/snapshot/follower'
import { readListInForce } from '../gal/snapshot/in-force'
import { findsExpress, missingAddress } from '../page/http-server'
import { counted } from '../report/words'
import { domainRoute } from '../routing/decide'
import { KINDS } from '../routing/kinds'
import { parseIp } from '../routing/networks'
import { type Recipient, recipientNamed } from '../routing/recipient'
import { hopsOf, type NextHop } from '../routing/routes'
import type { DirectorySettings } from '../settings/directories'
import { readIniFile } from '../settings/haraka-files'
import { loadSettings } from '../settings/load'
import { ownHost, ownListener } from '../settings/own-host'
import { SettingsError } from '../settings/problem'
import type { ListenerPolicy, Settings, SnapshotSettings } from '../settings/settings'
import { UntrustedFolder } from '../trusted-file'
import { harakaPrograms, type Install, isMissing, openInstall, openLists, PLUGIN } from './install'
import { colour, columns, printJson, printLines } from './print'
import { unreadable } from './unreadable'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

/** Findings about one thing. */
interface Section {
  readonly about: string
  readonly findings: readonly Finding[]
}

const EXAMPLES = `
Asks every directory server what look-ups and a snapshot need of it; nothing is changed there. Exit code 1
when there is a problem; warnings and notes are for you to judge.

Examples:
  After a change of gal_relay.ini, before Haraka reads it:
    gal-relay check
  An install that does not run here:
    gal-relay check --config /srv/haraka
  What is wrong, for a script:
    gal-relay check --json | jq -r '.sections[].findings[] | select(.level == "problem").text'`

export function checkCommand(): Command {
  return new Command('check')
    .description('what is wrong with the configuration, and are the directory servers well')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  await showCheck(await openInstall(options.config), options.json ?? false)
}

/**
 * Prints what is found, and sets the exit code.
 * @param awaited a problem that is to be there still, and is not one for the exit code
 */
export async function showCheck(
  install: Install,
  asJson: boolean,
  awaited: readonly string[] = [],
): Promise<void> {
  const sections = await check(install)
  const count = (level: Finding['level']) =>
    sections.reduce((sum, one) => sum + one.findings.filter((f) => f.level === level).length, 0)
  const problems = count('problem')
  const warnings = count('warning')
  if (asJson) printJson({ install: install.root, problems, warnings, sections })
  else {
    printLines([
      ...sections.flatMap(inWords),
      `${counted(problems, 'problem')}, ${counted(warnings, 'warning')}`,
    ])
  }
  const others = sections.flatMap(({ findings }) =>
    findings.filter(({ level, text }) => level === 'problem' && !awaited.includes(text)),
  )
  if (others.length > 0) process.exitCode = 1
}

async function check(install: Install): Promise<Section[]> {
  const { config, root } = install
  const plugins = { about: 'config/plugins', findings: pluginFindings(config) }
  let settings: Settings
  let ignored: readonly string[]
  try {
    ;({ settings, ignored } = loadSettings(config))
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    // The first line says how many they are.
    const [, ...lines] = error.message.split('\n')
    const findings = lines.map((line): Finding => ({ level: 'problem', text: line.trim() }))
    return [{ about: `settings of ${root}`, findings }, plugins]
  }
  const [hops, servers, addresses] = await Promise.all([
    nextHopFindings(config, settings),
    probeDirectories(settings),
    addressFindings(settings),
  ])
  return [
    {
      about: `settings of ${root}`,
      findings: [
        ...settingsFindings(settings, ignored),
        ...addresses,
        ...httpFindings(install, settings),
        ...[...unreadable(config, settings), ...exposedFiles(config, settings)].map(
          (text): Finding => ({ level: 'warning', text }),
        ),
      ],
    },
    { ...plugins, findings: pluginFindings(config, settings) },
    ...(hops.length > 0 ? [{ about: 'next hops', findings: hops }] : []),
    ...(await Promise.all(settings.directories.all.map(snapshotSection))).flat(),
    ...servers,
  ]
}

function settingsFindings(settings: Settings, ignored: readonly string[]): Finding[] {
  const warnings = [...ignored, ...doubts(settings), ...unreachable(settings)]
  const open = [...settings.policies.values()].flatMap(openTo)
  return [
    ...summary(settings).map((text): Finding => ({ level: 'ok', text })),
    ...open.map((text): Finding => ({ level: 'problem', text })),
    ...warnings.map((text): Finding => ({ level: 'warning', text })),
  ]
}

/** So many addresses are looked up. */
const LOOKED_UP = 50

/** Rows for single addresses beside what the directory says of them. */
async function addressFindings(settings: Settings): Promise<Finding[]> {
  const [policy] = settings.policies.values()
  const rows = policy ? besideDirectory(policy.routing).slice(0, LOOKED_UP) : []
  if (rows.length === 0) return []
  const lists = openLists(settings)
  try {
    const findings = rows.map(async ({ recipient, text, kind }): Promise<Finding[]> => {
      const { state } = await lists.lookup(recipient)
      const row = `[routes] ${text} = ${kind}`
      if (kind === 'accept' && state === 'found') {
        return [{ level: 'note', text: `${row}: the directory, which is not asked, has it too` }]
      }
      if (kind === 'refuse' && state === 'absent') {
        const why = 'the directory does not have the address'
        return [{ level: 'warning', text: `${row} makes no difference: ${why}` }]
      }
      return []
    })
    return (await Promise.all(findings)).flat()
  } finally {
    await lists.close()
  }
}

interface AddressRow {
  readonly recipient: Recipient
  readonly text: string
  readonly kind: 'accept' | 'refuse'
}

function besideDirectory(routing: ListenerPolicy['routing']): readonly AddressRow[] {
  return routing.routes.rows.flatMap(({ sentTo, routeTo: { kind }, text }) => {
    if (sentTo.match !== 'address' || (kind !== 'accept' && kind !== 'refuse')) return []
    const { lookUp } = KINDS[domainRoute(routing, sentTo.domain).kind]
    if (lookUp !== 'required') return []
    return [{ recipient: recipientNamed(sentTo.local, sentTo.domain), text, kind }]
  })
}

function httpFindings({ config, root }: Install, { http }: Settings): Finding[] {
  if (!http.enabled) return []
  const missing = missingAddress(readIniFile(config, 'http.ini'))
  if (missing) return [{ level: 'warning', text: `no metrics and no status page: ${missing}` }]
  if ([path.join(root, 'package.json'), ...harakaPrograms()].some(findsExpress)) return []
  const text =
    `express is not found from here, neither in ${root} nor beside the haraka of PATH; without ` +
    'it Haraka has no metrics and no status page, and says so at its start'
  return [{ level: 'note', text }]
}

function openTo(policy: ListenerPolicy): readonly string[] {
  const open = policy.enabled ? openRelay(policy) : []
  if (open.length > 0) return open
  const { name } = policy
  const address = name.slice(0, name.lastIndexOf(':'))
  return whoMayRelay(policy, parseIp(address)).internet
    ? [`listener ${name}: the internet may relay; gal-relay who-may-relay has the details`]
    : []
}

async function probeDirectories({ directories: { all } }: Settings): Promise<Section[]> {
  const probed = await Promise.all(all.map(({ gal, ldap }) => probeDirectory(gal, ldap)))
  return probed.flatMap((servers, index) => {
    const name = all.length > 1 ? `${all[index]?.name}: ` : ''
    return servers.map(({ server, findings }) => ({
      about: `directory ${name}${server}`,
      findings,
    }))
  })
}

async function snapshotSection({ gal, ldap, snapshot }: DirectorySettings): Promise<Section[]> {
  if (gal.mode !== 'snapshot') return []
  const about = `snapshot ${snapshot.file}`
  try {
    const { count, asOf } = await readListInForce(listDefinition(gal, ldap), snapshot)
    const size = `${counted(count, 'recipient')}, as of ${new Date(asOf).toISOString()}`
    const { level, why } = judgedByAge(Date.now() - asOf, snapshot)
    return [{ about, findings: [{ level, text: size + why }] }]
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const finding: Finding = isMissing(error)
      ? (folderProblem(path.dirname(snapshot.file)) ?? {
          level: 'note',
          text: 'there is none yet; Haraka reads it at its start, or gal-relay sync',
        })
      : error instanceof UntrustedFolder
        ? { level: 'problem', text: `no list is read or kept there: ${reason}` }
        : { level: 'warning', text: `it is not used, a new one will be read: ${reason}` }
    return [{ about, findings: [finding] }]
  }
}

function judgedByAge(
  age: number,
  { usable_for, changes_every }: SnapshotSettings,
): { level: Finding['level']; why: string } {
  if (age < -SKEW) {
    return { level: 'problem', why: ': in the future, so not used; a clock is wrong, or was' }
  }
  if (age > usable_for) return { level: 'problem', why: ': too old to be used (usable_for)' }
  if (age > 2 * changes_every) {
    const why = ': the directory has not confirmed it since; is Haraka running?'
    return { level: 'warning', why }
  }
  return { level: 'ok', why: '' }
}

function folderProblem(folder: string): Finding | undefined {
  if (!existsSync(folder)) return { level: 'problem', text: `there is no folder ${folder}` }
  try {
    accessSync(folder, constants.W_OK)
    return undefined
  } catch {
    return {
      level: 'warning',
      text: `its folder cannot be written by us; can it by the user that Haraka runs as?`,
    }
  }
}

/** @param settings undefined when they cannot be used */
function pluginFindings(config: Haraka.Config, settings?: Settings): Finding[] {
  const unlisted = notListed(config, PLUGIN)
  if (unlisted.length > 0) return unlisted.map((text): Finding => ({ level: 'problem', text }))
  const findings: Finding[] = [
    ...openRelayBefore(config, PLUGIN, settings).map(
      (text): Finding => ({ level: 'problem', text }),
    ),
    ...[
      ...pluginOrder(config, PLUGIN, settings),
      ...(settings ? proxiedTwice(config, settings) : []),
    ].map((text): Finding => ({ level: 'warning', text })),
  ]
  return findings.length > 0 ? findings : [{ level: 'ok', text: 'no other plugin answers first' }]
}

async function nextHopFindings(config: Haraka.Config, settings: Settings): Promise<Finding[]> {
  const [policy] = settings.policies.values()
  const rows = policy?.routing.routes.rows ?? []
  const hops = new Map<string, NextHop>()
  for (const { routeTo } of rows) {
    for (const hop of hopsOf(routeTo)) hops.set(hop.text, hop)
  }
  const own = ownHost(config)
  const addresses = new HostAddresses()
  return Promise.all(
    Array.from(hops.values(), async (hop): Promise<Finding> => {
      const { text, host } = hop
      try {
        const all = await addresses.of(host)
        for (const address of all) {
          const listener = ownListener(own, { ...hop, host: address })
          if (!listener) continue
          return {
            level: 'problem',
            text: `${text} is this Haraka itself (${address}, ${listener})`,
          }
        }
        return { level: 'ok', text: all[0] === host ? text : `${text} is ${all.join(', ')}` }
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        return { level: 'problem', text: `${text}: no address found: ${reason}` }
      }
    }),
  )
}

const PAINT = {
  ok: colour.green,
  note: colour.dim,
  warning: colour.yellow,
  problem: colour.red,
} as const

function inWords({ about, findings }: Section): string[] {
  const rows = columns(findings.map(({ level, text }) => [`  ${level.padEnd(7)}`, text]))
  return [
    colour.bold(about),
    ...rows.map((row, i) => {
      const level = findings[i]?.level ?? 'note'
      return row.replace(level, PAINT[level](level))
    }),
    '',
  ]
}

// gal-relay check: everything that can be wrong with an install, at once: its settings, its place among
// the plugins, its next hops, and the directory servers.
import { accessSync, constants, existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { bulkhead } from 'cockatiel'
import { Command } from 'commander'
import { directoryNames } from '../advice/directories'
import { exposedFiles } from '../advice/exposed-files'
import { notListed, openRelayBefore, pluginOrder, proxiedTwice } from '../advice/plugin-order'
import { doubts, openRelay, summary } from '../advice/startup'
import { unreachable } from '../advice/unreachable'
import { whoMayRelay } from '../advice/who-may-relay'
import { HostAddresses } from '../delivery/host-addresses'
import { probeRedis } from '../fleet/probe'
import { listDefinition } from '../gal/directory/list-definition'
import { type Finding, probeDirectory } from '../gal/directory/probe'
import { OtherSettings } from '../gal/snapshot/file-format'
import { SKEW } from '../gal/snapshot/follower'
import { readListInForce } from '../gal/snapshot/in-force'
import { findExpress, missingAddress, tooOld } from '../page/http-server'
import { counted } from '../report/words'
import { domainRoute } from '../routing/decide'
import { KINDS } from '../routing/kinds'
import { parseIp } from '../routing/networks'
import { type Recipient, recipientNamed } from '../routing/recipient'
import { hopsOf, type NextHop } from '../routing/routes'
import type { DirectorySettings } from '../settings/directories'
import { readIniFile } from '../settings/haraka-files'
import { loadSettings, misnamed } from '../settings/load'
import { ownHost, ownListener } from '../settings/own-host'
import { SettingsError } from '../settings/problem'
import type { ListenerPolicy, Settings, SnapshotSettings } from '../settings/settings'
import { UntrustedFolder } from '../trusted-file'
import { foreignList, unwritable } from './haraka-user'
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
Checks that every directory server has what look-ups and a snapshot need; changes nothing. Exit code 1
when there is a problem; warnings and notes are for you to judge.

Examples:
  After editing gal_relay.ini, before Haraka reads it:
    gal-relay check
  An install in another folder:
    gal-relay check --config /srv/haraka
  The problems, for a script:
    gal-relay check --json | jq -r '.sections[].findings[] | select(.level == "problem").text'`

export function checkCommand(): Command {
  return new Command('check')
    .description('check the configuration and the directory servers')
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
  const [hops, directories, addresses, redis] = await Promise.all([
    nextHopFindings(config, settings),
    directorySections(config, settings),
    addressFindings(settings),
    redisSections(settings),
  ])
  return [
    {
      about: `settings of ${root}`,
      findings: [
        ...settingsFindings(settings, ignored),
        ...addresses,
        ...httpFindings(install, settings),
        ...[
          ...misnamed(config),
          ...unreadable(config, settings),
          ...exposedFiles(config, settings),
        ].map((text): Finding => ({ level: 'warning', text })),
        ...unwritable(config, settings),
      ],
    },
    { ...plugins, findings: pluginFindings(config, settings) },
    ...(hops.length > 0 ? [{ about: 'next hops', findings: hops }] : []),
    ...directories,
    ...redis,
  ]
}

async function redisSections({ redis, harvest }: Settings): Promise<Section[]> {
  if (!redis || !harvest.enabled) return []
  return [{ about: 'redis', findings: await probeRedis(redis) }]
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

/** The most addresses that are looked up. */
const LOOKED_UP = 50

/** Rows for single addresses beside what the directory says of them. */
async function addressFindings(settings: Settings): Promise<Finding[]> {
  const [policy] = settings.policies.values()
  const rows = policy ? besideDirectory(policy.routing).slice(0, LOOKED_UP) : []
  if (rows.length === 0) return []
  const lists = openLists(settings)
  try {
    const findings = rows.map(async ({ recipient, text, kind }): Promise<Finding[]> => {
      const { directory, answer } = await lists.lookupIn(recipient)
      const { state } = answer
      const which = settings.directories.all.length > 1 ? `directory ${directory}` : 'the directory'
      const row = `[routes] ${text} = ${kind}`
      if (kind === 'accept' && state === 'found') {
        return [{ level: 'note', text: `${row}: ${which}, which is not asked, has it too` }]
      }
      if (kind === 'refuse' && state === 'absent') {
        const why = `${which} does not have the address`
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
  const [express] = [path.join(root, 'package.json'), ...harakaPrograms()].flatMap(
    (from) => findExpress(from) ?? [],
  )
  const old = express && tooOld(express)
  if (old) return [{ level: 'warning', text: `no metrics and no status page: ${old}` }]
  if (express) return []
  const text =
    `express was found neither in ${root} nor beside the haraka in PATH; without ` +
    'it there are no metrics and no status page; Haraka says so when it starts'
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

/** How many are asked at a time: an install may have hundreds. */
const ASKED_AT_ONCE = 10

/** Of each directory its list and its servers, with its name where there are several. */
async function directorySections(
  config: Haraka.Config,
  { directories: { all } }: Settings,
): Promise<Section[]> {
  const limit = bulkhead(ASKED_AT_ONCE, all.length)
  const sections = all.map((directory) =>
    limit.execute(async () => {
      const name = all.length > 1 ? `${directory.name}: ` : ''
      const [list, servers] = await Promise.all([
        snapshotSection(config, directory, name),
        probeDirectory(directory.gal, directory.ldap),
      ])
      return [
        ...list,
        ...servers.map(({ server, findings }) => ({
          about: `directory ${name}${server}`,
          findings,
        })),
      ]
    }),
  )
  return [...sharedFiles(all), ...(await Promise.all(sections)).flat()]
}

/** Paths that differ may lead to one file. */
function sharedFiles(all: readonly DirectorySettings[]): Section[] {
  const users = new Map<string, DirectorySettings[]>()
  for (const one of all) {
    if (one.gal.mode !== 'snapshot') continue
    const file = realFile(one.snapshot.file)
    users.set(file, [...(users.get(file) ?? []), one])
  }
  return Array.from(users, ([file, own]): Section[] => {
    if (own.length < 2) return []
    const names = directoryNames(own.map(({ name }) => name))
    const text = `it is the file of ${names}; each list needs its own`
    return [{ about: `snapshot ${file}`, findings: [{ level: 'problem', text }] }]
  }).flat()
}

function realFile(file: string): string {
  try {
    return path.join(realpathSync(path.dirname(file)), path.basename(file))
  } catch {
    return file
  }
}

async function snapshotSection(
  config: Haraka.Config,
  { gal, ldap, snapshot }: DirectorySettings,
  name: string,
): Promise<Section[]> {
  if (gal.mode !== 'snapshot') return []
  const about = `snapshot ${name}${snapshot.file}`
  try {
    const foreign = foreignList(config, snapshot.file)
    if (foreign) return [{ about, findings: [{ level: 'warning', text: foreign }] }]
    const { count, asOf } = await readListInForce(listDefinition(gal, ldap), snapshot)
    const size = `${counted(count, 'recipient')}, as of ${new Date(asOf).toISOString()}`
    const { level, why } = judgedByAge(Date.now() - asOf, snapshot)
    return [{ about, findings: [{ level, text: size + why }] }]
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const finding: Finding = isMissing(error)
      ? (folderProblem(path.dirname(snapshot.file)) ?? {
          level: 'note',
          text: 'there is none yet; Haraka reads it when it starts, or run gal-relay sync',
        })
      : error instanceof UntrustedFolder
        ? { level: 'problem', text: `no list is read from there or kept there: ${reason}` }
        : {
            level: 'warning',
            text: `it is not used, and a new one will be read: ${reason}${error instanceof OtherSettings ? OTHER_SETTINGS : ''}`,
          }
    return [{ about, findings: [finding] }]
  }
}

const OTHER_SETTINGS =
  '; has gal-relay sync been run with other settings, or has Haraka not loaded these yet?'

function judgedByAge(
  age: number,
  { usable_for, changes_every }: SnapshotSettings,
): { level: Finding['level']; why: string } {
  if (age < -SKEW) {
    return {
      level: 'problem',
      why: ': dated in the future, so it is not used; a clock is or was wrong',
    }
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
      text: `we cannot write to its folder; can the user that Haraka runs as?`,
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
  const hosts = [...(policy?.routing.mailboxHosts.values() ?? [])]
  const named = [...rows.map(({ routeTo }) => hopsOf(routeTo)), ...hosts.map(({ hops }) => hops)]
  const hops = new Map<string, NextHop>(named.flat().map((hop) => [hop.text, hop]))
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

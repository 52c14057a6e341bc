// gal-relay check: everything that can be wrong with an install, in one report: its settings, its
// place among the plugins, its next hops, and the directory servers.
import path from 'node:path'
import { bulkhead } from 'cockatiel'
import { Command } from 'commander'
import { fileFindings, pluginFindings, settingsFindings } from '../advice/findings'
import { unwritable } from '../advice/haraka-user'
import { type Section, sharedFiles } from '../advice/list-files'
import { probeRedis } from '../fleet/probe'
import type { Finding } from '../gal/directory/finding'
import { probeDirectory } from '../gal/directory/probe'
import { findExpress, missingAddress, tooOld } from '../page/http-server'
import { counted } from '../report/words'
import { readIniFile } from '../settings/haraka-files'
import { loadSettings } from '../settings/load'
import { SettingsError } from '../settings/problem'
import type { Settings } from '../settings/settings'
import { channelSection, snapshotSection } from './check-lists'
import { addressFindings, nextHopFindings } from './check-routes'
import { harakaPrograms, type Install, openInstall, PLUGIN } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
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
 * Prints the findings and sets the exit code.
 * @param awaited a problem that is still expected and does not count for the exit code
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
  const plugins = { about: 'config/plugins', findings: pluginFindings(config, PLUGIN) }
  let settings: Settings
  let ignored: readonly string[]
  try {
    ;({ settings, ignored } = loadSettings(config))
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    // The first line only gives the number of problems.
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
        ...fileFindings(config, settings),
        ...unwritable(config, settings),
      ],
    },
    { ...plugins, findings: pluginFindings(config, PLUGIN, settings) },
    ...(hops.length > 0 ? [{ about: 'next hops', findings: hops }] : []),
    ...directories,
    ...redis,
  ]
}

async function redisSections({ redis, harvest, directories }: Settings): Promise<Section[]> {
  const holdsLists = directories.all.some(({ snapshot: { channel, key_file } }) =>
    channel ? 'redis' in channel.carrier : key_file !== '' && !redis?.isHarakas,
  )
  if (!redis || !(harvest.enabled || holdsLists)) return []
  return [{ about: 'redis', findings: await probeRedis(redis, holdsLists) }]
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

/** How many directories are asked at a time: an install may have hundreds. */
const ASKED_AT_ONCE = 10

/** The list and the servers of each directory; each has its directory's name if there are several. */
async function directorySections(
  config: Haraka.Config,
  { directories: { all } }: Settings,
): Promise<Section[]> {
  const limit = bulkhead(ASKED_AT_ONCE, all.length)
  const sections = all.map((directory) =>
    limit.execute(async () => {
      const name = all.length > 1 ? `${directory.name}: ` : ''
      const [list, channel, servers] = await Promise.all([
        snapshotSection(config, directory, name),
        channelSection(directory),
        probeDirectory(directory.gal, directory.ldap),
      ])
      return [
        ...list,
        ...channel,
        ...servers.map(({ server, findings }) => ({
          about: `directory ${name}${server}`,
          findings,
        })),
      ]
    }),
  )
  return [...sharedFiles(all), ...(await Promise.all(sections)).flat()]
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

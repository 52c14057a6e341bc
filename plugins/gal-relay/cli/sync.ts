// gal-relay sync: reads the whole list from the directory now and puts it into force.
import { Command } from 'commander'
import { listDefinition } from '../gal/directory/list-definition'
import { OtherSettings } from '../gal/snapshot/file-format'
import { readListInForce } from '../gal/snapshot/in-force'
import { Refused } from '../gal/snapshot/keeper'
import type { ListSettings } from '../gal/snapshot/list-settings'
import { type SyncProgress, type SyncResult, syncOnce } from '../gal/snapshot/sync-once'
import { counted, grouped } from '../report/words'
import { DEFAULT, type DirectorySettings } from '../settings/directories'
import { carrierText } from '../settings/list-channel'
import type { Settings } from '../settings/settings'
import { CannotRun, openConfigured, SILENT } from './install'
import { colour, columns, printError, printJson, printLines } from './print'
import { progressBar, progressLine } from './progress'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly force?: boolean
  readonly directory?: string
}

const EXAMPLES = `
The server does this by itself, every [snapshot] full_every and after each start. It uses the new
list within a second. Exit code 1 if the list was refused, 2 if no server provided one. Where several
directories have lists, all are read, one after the other; the highest exit code of theirs counts.

Examples:
  Now, because something was restored or moved in the directory:
    gal-relay sync
  The list has shrunk by more than shrink_limit, and that is right:
    gal-relay sync --force
  The list of [directory NAME] alone; that of [ldap] is called default:
    gal-relay sync --directory default`

export function syncCommand(): Command {
  return new Command('sync')
    .description('read the whole list from the directory now (mode = snapshot)')
    .option('--force', 'accept the list, however few recipients it has')
    .option('--directory <name>', 'only the list of that directory')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { settings } = await openConfigured(options.config)
  const lists = snapshotDirectories(settings, options.directory)
  const [only] = lists
  if (only && lists.length === 1) {
    const { code, json, error } = await sync(only, options, '')
    if (code === 2) throw new CannotRun(error)
    if (options.json) printJson(json)
    process.exitCode = code
    return
  }
  const directories: object[] = []
  let highest = 0
  for (const directory of lists) {
    const { code, json, error } = await sync(directory, options, `${directory.name}: `)
    directories.push(json)
    if (code === 2) printError(`${directory.name}: ${error}`)
    highest = Math.max(highest, code)
  }
  if (options.json) printJson({ directories })
  process.exitCode = highest
}

/** @throws CannotRun if there is no snapshot to read */
function snapshotDirectories(
  { directories: { all } }: Settings,
  name: string | undefined,
): readonly DirectorySettings[] {
  const named = name === undefined ? all : all.filter((one) => one.name === name)
  if (named.length === 0) {
    const names = all.map((one) => one.name).join(', ')
    throw new CannotRun(
      name === undefined
        ? 'no directory is configured: [ldap] url[]'
        : `there is no directory ${name}${names && `; there is ${names}`}`,
    )
  }
  const lists = named.filter(({ gal }) => gal.mode === 'snapshot')
  if (lists.length === 0) {
    const [received] = named.flatMap(({ snapshot: { channel } }) => channel ?? [])
    if (received) {
      const from = carrierText(received)
      throw new CannotRun(
        `there is nothing to read here: the list ${received.list} is received from ${from} ([gal] mode = ` +
          'received); gal-relay publish reads it, on the server that publishes it',
      )
    }
    const where = name === undefined || name === DEFAULT ? 'gal' : `directory ${name}`
    throw new CannotRun(`there is no list to read: [${where}] mode is not snapshot`)
  }
  return lists
}

interface Outcome {
  readonly code: 0 | 1 | 2
  readonly json: object
  /** Why there is no new list; '' if there is one. */
  readonly error: string
}

/**
 * Prints the result, except the error of a directory that showed no list.
 * @param name prefix of each line; '' if there is only one list
 */
async function sync(
  { name: directory, gal, ldap, snapshot }: DirectorySettings,
  options: Options,
  name: string,
): Promise<Outcome> {
  const unlike = await unlikeList({ gal, ldap, snapshot })
  const bar = syncProgress(name)
  try {
    const result = await syncOnce(
      { gal, ldap, snapshot },
      { force: options.force ?? false, log: SILENT, onProgress: bar.show },
    )
    bar.end()
    if (!options.json) printLines(inWords(result, snapshot.file, name))
    if (unlike) printError(`${name}${colour.yellow(unlike)}`)
    return { code: 0, json: { directory, ...result, file: snapshot.file }, error: '' }
  } catch (thrown) {
    bar.end()
    if (!(thrown instanceof Error)) throw thrown
    const isRefused = thrown instanceof Refused
    const what = isRefused ? 'the list was refused' : 'the list was not read'
    const error = `${what}: ${thrown.message}`
    if (isRefused) printError(`${name}${colour.red(what)}: ${thrown.message}`)
    const json = name ? { directory, error } : { error }
    return { code: isRefused ? 1 : 2, json, error }
  }
}

/** @returns a sentence if the existing list was made for other settings */
async function unlikeList({ gal, ldap, snapshot }: ListSettings): Promise<string | undefined> {
  try {
    await readListInForce(listDefinition(gal, ldap), snapshot)
  } catch (error) {
    if (!(error instanceof OtherSettings)) return undefined
    return (
      'the list before was made with a different base, filter or list of attributes: a running Haraka that has ' +
      'those does not use this one, and reads its own again'
    )
  }
  return undefined
}

function inWords(result: SyncResult, file: string, name: string): string[] {
  const { server, feed, entries, recipients, milliseconds, before, added, removed } = result
  const seconds = (milliseconds / 1000).toFixed(1)
  const asOf = before && new Date(before.asOf).toISOString()
  return [
    `${name}${colour.green(`${counted(recipients, 'recipient')} in force`)}`,
    ...columns([
      ['  read', `${counted(entries, 'entry', 'entries')} of ${server} in ${seconds} s`],
      ['  before', before ? `${counted(before.count, 'recipient')}, as of ${asOf}` : 'no list'],
      ['  new', grouped(added)],
      ['  gone', grouped(removed)],
      ['  changes', `come by ${feed}`],
      ['  file', file],
    ]),
  ]
}

/** On a terminal, one line that is rewritten; elsewhere nothing. */
function syncProgress(name: string) {
  const startedAt = performance.now()
  const line = progressLine()
  return {
    show: ({ server, entries, known, before }: SyncProgress) => {
      const rate = Math.round(entries / Math.max(0.1, (performance.now() - startedAt) / 1000))
      const bar = progressBar(before ? known / before : undefined)
      const entriesText = `${grouped(entries)} entries of ${server}`
      line.show(`${name}${bar}${entriesText}, ${grouped(rate)} a second`)
    },
    end: line.end,
  }
}

// gal-relay sync: reads the whole list from the directory now and puts it in force.
import { Command } from 'commander'
import { Refused } from '../gal/snapshot/keeper'
import { type SyncProgress, type SyncResult, syncOnce } from '../gal/snapshot/sync-once'
import { counted, grouped } from '../report/words'
import type { DirectorySettings } from '../settings/directories'
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
The server does this by itself, every [snapshot] full_every and after each start. It goes on with the new
list within a second. Exit code 1 when the list was refused, and 2 when no server showed one.

Examples:
  Now, because something was restored or moved in the directory:
    gal-relay sync
  The list has shrunk by more than shrink_limit, and that is right:
    gal-relay sync --force`

export function syncCommand(): Command {
  return new Command('sync')
    .description('read the whole list from the directory now (mode = snapshot)')
    .option('--force', 'however few recipients the directory shows')
    .option('--directory <name>', 'the list of that directory alone')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { settings } = await openConfigured(options.config)
  for (const directory of kept(settings, options.directory)) await sync(directory, options)
}

/** @throws CannotRun when no list is kept */
function kept(
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
    throw new CannotRun('there is no list to be read: [gal] mode is not snapshot')
  }
  return lists
}

async function sync(
  { name, gal, ldap, snapshot }: DirectorySettings,
  options: Options,
): Promise<void> {
  const bar = syncProgress()
  try {
    const result = await syncOnce(
      { gal, ldap, snapshot },
      { force: options.force ?? false, log: SILENT, onProgress: bar.show },
    )
    bar.end()
    if (options.json) printJson({ directory: name, ...result, file: snapshot.file })
    else printLines(inWords(result, snapshot.file))
  } catch (error) {
    bar.end()
    if (!(error instanceof Error)) throw error
    if (!(error instanceof Refused)) throw new CannotRun(`the list was not read: ${error.message}`)
    if (options.json) printJson({ error: `the list was refused: ${error.message}` })
    printError(`${colour.red('the list was refused')}: ${error.message}`)
    process.exitCode = 1
  }
}

function inWords(result: SyncResult, file: string): string[] {
  const { server, feed, entries, recipients, milliseconds, before, added, removed } = result
  const seconds = (milliseconds / 1000).toFixed(1)
  const asOf = before && new Date(before.asOf).toISOString()
  return [
    colour.green(`${counted(recipients, 'recipient')} in force`),
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

/** On a terminal one line that is written over; elsewhere nothing. */
function syncProgress() {
  const startedAt = performance.now()
  const line = progressLine()
  return {
    show: ({ server, entries, known, before }: SyncProgress) => {
      const rate = Math.round(entries / Math.max(0.1, (performance.now() - startedAt) / 1000))
      const bar = progressBar(before ? known / before : undefined)
      line.show(`${bar}${grouped(entries)} entries of ${server}, ${grouped(rate)} a second`)
    },
    end: line.end,
  }
}

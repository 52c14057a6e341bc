// gal-relay replay: decides a day of mail from a log again, with this configuration and directory.
import { Command } from 'commander'
import { grammarOf } from '../advice/envelope'
import {
  type DecidedTransaction,
  type Difference,
  Replay,
  type ReplayResult,
} from '../advice/replay'
import { DirectoryLists } from '../gal/directories'
import { createListAsRead } from '../gal/snapshot/list-as-read'
import type { LogEvent } from '../logs/event'
import type { LogKind } from '../logs/table'
import { counted, grouped } from '../report/words'
import { CannotRun, openConfigured, SILENT } from './install'
import { readLogs } from './log-files'
import { numberOf } from './options'
import { colour, columns, printJson, printLines } from './print'
import { progressBar, progressLine } from './progress'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly limit: number
}

/** Transactions decided at a time: live look-ups wait for the directory. */
const TOGETHER = 64
const SHOW_EVERY = 100

const EXAMPLES = `
Reads Haraka's log (default, logfmt and JSON), Postfix's maillog and Exchange's message tracking, packed by
gzip or not; - is standard input. Several are read in the order given. What a log does not say is taken as
absent: no account, the general listener. In snapshot mode the list in force is taken for the truth.
Exit code 0: every answer would be the same; 1: some would differ, or could not be decided.

Examples:
  Before enforcing: what would change?
    gal-relay replay haraka.log
  Before a change: another folder with the settings as they shall be, and a day of mail
    gal-relay replay --config /srv/haraka/config haraka.log.1 haraka.log
  From the Postfix that it takes the place of, all differences for a spreadsheet:
    gal-relay replay --json --limit 1000000 mail.log | jq -r '.list[] | [.recipient, .was, .is] | @csv'`

export function replayCommand(): Command {
  return new Command('replay')
    .description('a day of mail from a log: which answers would differ today')
    .argument('<logs...>', 'of Haraka, Postfix or Exchange')
    .option('--limit <number>', 'of differences that are listed', numberOf, 20)
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(files: string[], _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { config, settings } = await openConfigured(options.config)
  const lists = new DirectoryLists(settings.directories, () => SILENT, createListAsRead)
  const replay = new Replay(settings, lists, grammarOf(config), options.limit)
  const line = progressLine()
  const startedAt = performance.now()
  let shownAt = 0
  try {
    const kinds = await readLogs(files, Date.now(), {
      take: (events) => decideAll(replay, events),
      onProgress: ({ read, total }) => {
        const now = performance.now()
        if (now - shownAt < SHOW_EVERY) return
        shownAt = now
        const { recipients, differences } = replay
        const bar = progressBar(total === undefined ? undefined : read / Math.max(1, total))
        line.show(`${bar}${counted(recipients, 'recipient')}, ${grouped(differences)} differ`)
      },
    })
    line.end()
    const result = replay.result()
    if (result.recipients === 0)
      throw new CannotRun(`there are no recipients in ${files.join(', ')}`)
    const asOf = lists.report().flatMap(({ directory, snapshot }) => {
      return snapshot ? [{ directory, recipients: snapshot.addresses, as_of: snapshot.asOf }] : []
    })
    const seconds = (performance.now() - startedAt) / 1000
    const withTimes = { ...result, list: result.list.map(withTime) }
    if (options.json) {
      printJson({
        logs: files,
        kinds: kinds.map(({ name }) => name),
        ...withTimes,
        lists: asOf.map(listJson),
      })
    } else printLines([...inWords(result, kinds, seconds), ...asOf.map(listInWords)])
    if (result.differences > 0 || result.undecided > 0) process.exitCode = 1
  } finally {
    line.end()
    await lists.close()
  }
}

/** Decides many at a time, so that look-ups need not wait for each other; counts in the log's order. */
async function decideAll(replay: Replay, events: readonly LogEvent[]): Promise<void> {
  const transactions = events.filter((event) => event.type === 'transaction')
  const decided: DecidedTransaction[] = []
  let next = 0
  const decide = async () => {
    for (let place = next++; place < transactions.length; place = next++) {
      const transaction = transactions[place]
      if (transaction) decided[place] = await replay.decide(transaction)
    }
  }
  await Promise.all(Array.from({ length: Math.min(TOGETHER, transactions.length) }, decide))
  for (const one of decided) replay.count(one)
}

interface ListUsed {
  readonly directory: string
  readonly recipients: number
  /** Milliseconds since 1970; 0 if there is no list and the directory was asked. */
  readonly as_of: number
}

const timeText = (at: number | undefined) => (at ? new Date(at).toISOString() : undefined)

const listJson = ({ as_of, ...list }: ListUsed) => ({ ...list, as_of: timeText(as_of) })

const withTime = ({ at, ...difference }: Difference) => ({ at: timeText(at), ...difference })

function listInWords({ directory, recipients, as_of }: ListUsed): string {
  return as_of
    ? `directory ${directory}: by the list of ${counted(recipients, 'recipient')}, as of ${timeText(as_of)}`
    : `directory ${directory}: there is no list that may be used, it was asked`
}

const MOST = 10

function inWords(result: ReplayResult, kinds: readonly LogKind[], seconds: number): string[] {
  const { recipients, compared, differences, undecided, list } = result
  const title = `${counted(differences, 'answer')} of ${grouped(compared)} would differ`
  const paint = differences > 0 ? colour.yellow : colour.green
  return [
    paint(colour.bold(title)),
    ...columns([
      [
        '  read',
        `${counted(recipients, 'recipient')} from ${titles(kinds)} in ${seconds.toFixed(1)} s`,
      ],
      ...notes(result, kinds).map((text) => ['  note', text]),
    ]),
    ...(undecided > 0
      ? [
          colour.red(
            `${counted(undecided, 'recipient')} could not be decided: a directory cannot tell`,
          ),
        ]
      : []),
    ...table('by rule', result.by_rule, ({ was, is, rule }) => `${was} → ${is}: ${rule}`),
    ...table('by domain', result.by_domain, ({ domain }) => domain),
    ...table('by client', result.by_client, ({ client }) => client),
    ...(list.length > 0 ? ['', colour.bold('differences')] : []),
    ...columns(list.map(row)),
    ...(differences > list.length
      ? [`  and ${grouped(differences - list.length)} more: --limit ${differences}`]
      : []),
    '',
  ]
}

const titles = (kinds: readonly LogKind[]) => kinds.map(({ title }) => title).join(' and ')

function notes(result: ReplayResult, kinds: readonly LogKind[]): string[] {
  const { not_compared, without_account, without_listener } = result
  const { deferred, unclear, other_reasons, not_enabled, unreadable } = not_compared
  const of = (count: number, text: string) =>
    count > 0 ? [`${counted(count, 'recipient')} ${text}`] : []
  return [
    ...kinds
      .filter(({ leavesOut }) => leavesOut)
      .map(({ title, leavesOut }) => `${title}: ${leavesOut}`),
    ...of(deferred, 'were deferred then: not compared'),
    ...of(unclear, 'accepted or not, the log does not say: not compared'),
    ...other_reasons.slice(0, MOST).flatMap(({ reason, count }) => {
      return of(count, `were refused for another reason (${reason}): not compared`)
    }),
    ...of(not_enabled, 'came to listeners with enabled = false: not compared'),
    ...of(unreadable, 'are not addresses Haraka can read: not compared'),
    ...of(without_account, 'without a word on an account: taken as not authenticated'),
    ...of(without_listener, 'without a word on the listener: the general settings are taken'),
  ]
}

function table<T extends { readonly count: number }>(
  title: string,
  rows: readonly T[],
  name: (row: T) => string,
): string[] {
  if (rows.length === 0) return []
  const more = rows.length - MOST
  return [
    '',
    colour.bold(title),
    ...columns(rows.slice(0, MOST).map((one) => [`  ${grouped(one.count)}`, name(one)])),
    ...(more > 0 ? [`  and ${grouped(more)} more`] : []),
  ]
}

function row({
  client,
  account,
  recipient,
  was,
  was_reply,
  is,
  reply,
  rule,
}: Difference): string[] {
  const who = account ? `${client} (${account})` : client
  return [
    `  ${recipient}`,
    who,
    `${was_reply || was} → ${is === 'accepted' ? is : reply}`,
    colour.dim(rule),
  ]
}

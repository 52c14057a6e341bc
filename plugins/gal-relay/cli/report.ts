// gal-relay report: one day of mail on one page, as text or HTML, for a cron mail.
import { existsSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { type Day, DayReport, type Told } from '../advice/day-report'
import type { LogKind } from '../logs/table'
import { reportPage } from '../page/day-report-page'
import { type ReportSection, reportSections } from '../page/day-report-sections'
import { readIniFile } from '../settings/haraka-files'
import { CannotRun, openInstall } from './install'
import { readLogs } from './log-files'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly html?: boolean
  readonly day: Date
}

const EXAMPLES = `
Without LOG it reads the file to which Haraka writes when it runs in the background (daemon_log_file in
config/smtp.ini), and the one that logrotate has put beside it. A log without times (timestamps in
config/log.ini) is counted whole. Which rule accepted a recipient is in the log at level info only.
Exit code 2 when the log cannot be read.

Examples:
  Yesterday:
    gal-relay report haraka.log.1 haraka.log
  Every morning, by cron:
    gal-relay report --html haraka.log | mail -s "Mail of yesterday" -a "Content-Type: text/html" postmaster
  The day on which something was odd:
    gal-relay report --day 2026-11-27 haraka.log`

export function reportCommand(): Command {
  return new Command('report')
    .description('a day of mail from a log in one page')
    .argument('[logs...]', 'of Haraka; or of Postfix or Exchange, as far as they go')
    .option(
      '--day <date>',
      'today, yesterday, or a date such as 2026-11-27',
      dayOf,
      dayOf('yesterday'),
    )
    .option('--html', 'as an HTML page')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

function dayOf(text: string): Date {
  const now = new Date()
  const [, ...parts] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text) ?? []
  const [year = 0, month = 0, date = 0] = parts.map(Number)
  if (text === 'today') return startOf(now.getFullYear(), now.getMonth(), now.getDate())
  if (text === 'yesterday') return startOf(now.getFullYear(), now.getMonth(), now.getDate() - 1)
  const day = startOf(year, month - 1, date)
  if (parts.length === 0 || day.getMonth() !== month - 1 || day.getDate() !== date) {
    throw new InvalidArgumentError('It is no date such as 2026-11-27.')
  }
  return day
}

const startOf = (year: number, month: number, date: number) => new Date(year, month, date)

async function run(files: string[], _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { day } = options
  const logs = files.length > 0 ? files : await usualLogs(options.config)
  const report = new DayReport(limitsOf(day))
  const kinds = await readLogs(logs, Date.now(), {
    take: async (events) => {
      for (const event of events) report.add(event)
    },
  })
  const result = report.result()
  const date = dateText(day)
  if (options.json) {
    const times = (told: readonly Told[]) =>
      told.map(({ at, text }) => ({ at: timeText(at), text }))
    const [outages, harvesters] = [times(result.outages), times(result.harvesters)]
    printJson({
      day: date,
      logs,
      kinds: kinds.map(({ name }) => name),
      ...result,
      outages,
      harvesters,
    })
    return
  }
  const sections = reportSections(result)
  const title = titleOf(date, kinds)
  if (options.html) printLines(reportPage(title, sections).text.trimEnd().split('\n'))
  else printLines(inWords(title, sections))
}

/** The limits of a day in local time, which may have 23 or 25 hours. */
function limitsOf(day: Date): Day {
  const next = startOf(day.getFullYear(), day.getMonth(), day.getDate() + 1)
  return { from: day.getTime(), to: next.getTime() }
}

function dateText(day: Date): string {
  const two = (number: number) => String(number).padStart(2, '0')
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`
}

const timeText = (at: number | undefined) =>
  at === undefined ? undefined : new Date(at).toISOString()

function titleOf(date: string, kinds: readonly LogKind[]): string {
  const from = kinds.map(({ title }) => title).join(' and ')
  return `Mail of ${date}${from && `, from ${from}`}`
}

/** @throws CannotRun if Haraka writes no log, or the log is missing */
async function usualLogs(folder: string | undefined): Promise<readonly string[]> {
  const { config } = await openInstall(folder)
  const { main } = readIniFile(config, 'smtp.ini')
  const file = String(main?.daemon_log_file ?? '/var/log/haraka.log')
  if (!existsSync(file)) {
    throw new CannotRun(`name the log: there is no ${file} (daemon_log_file in config/smtp.ini)`)
  }
  return [...[`${file}.1.gz`, `${file}.1`].filter((one) => existsSync(one)), file]
}

function inWords(title: string, sections: readonly ReportSection[]): string[] {
  return [
    colour.bold(title),
    ...sections.flatMap(({ title, lines = [], rows = [] }) => [
      '',
      ...(title ? [colour.bold(title)] : []),
      ...lines.map((line) => (title ? `  ${line}` : line)),
      ...columns(rows.map(([first = '', ...others]) => [`  ${first}`, ...others])),
    ]),
  ]
}

// gal-relay drain: the messages in Haraka's outbound queue for a next hop that only this plugin
// knows. Without the plugin they would go astray.
import { Command } from 'commander'
import { readQueue } from '../delivery/queue-files'
import { grouped, hopsIn, type Waiting } from '../delivery/waiting'
import { counted } from '../report/words'
import { queueFolder } from '../settings/haraka-files'
import { loadSettings } from '../settings/load'
import { ownHost } from '../settings/own-host'
import { SettingsError } from '../settings/problem'
import type { Settings } from '../settings/settings'
import { CannotRun, openInstall } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
Reads the files of the queue, whether Haraka is running or not, and changes nothing. Exit code 1
while something waits: without the plugin it would go to the domain's MX hosts, or bounce.

Examples:
  May the plugin be removed?
    gal-relay drain
  Wait until it may:
    until gal-relay drain > /dev/null; do sleep 60; done
  When the oldest waiting message was accepted, for a script:
    gal-relay drain --json | jq '[.waiting[].oldest] | min'`

export function drainCommand(): Command {
  return new Command('drain')
    .description('list queued mail that needs the plugin to find its next hop')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const install = await openInstall(options.config)
  const folder = queueFolder(install.config)
  const { messages, unreadable } = await readQueue(folder).catch((error: Error) => {
    throw new CannotRun(`the outbound queue cannot be read: ${error.message}`)
  })
  const hopsOf = hopsIn(settingsOf(install.config), ownHost(install.config).listeners)
  const waiting = grouped(messages, hopsOf)
  const count = sumOf(waiting, 'messages')
  const others = messages.length - count
  if (options.json) printJson({ queue: folder, messages: count, others, unreadable, waiting })
  else printLines(inWords(waiting, others, unreadable))
  if (count + unreadable.length > 0) process.exitCode = 1
}

/** @returns `undefined` if they cannot be used: then the settings at the time of acceptance count */
function settingsOf(config: Haraka.Config): Settings | undefined {
  try {
    return loadSettings(config).settings
  } catch (error) {
    if (error instanceof SettingsError) return undefined
    throw error
  }
}

const sumOf = (waiting: readonly Waiting[], what: 'messages' | 'recipients') =>
  waiting.reduce((sum, one) => sum + one[what], 0)

function inWords(
  waiting: readonly Waiting[],
  others: number,
  unreadable: readonly string[],
): string[] {
  const count = sumOf(waiting, 'messages')
  const rows = waiting.map(({ next_hops, domain, messages, recipients, oldest, attempts }) => [
    `  ${next_hops.join(', ') || 'MX hosts before this one'}`,
    domain,
    `${counted(messages, 'message')} for ${counted(recipients, 'recipient')}`,
    `since ${new Date(oldest).toISOString()}, tried ${counted(attempts, 'time')}`,
  ])
  const title = `${counted(count, 'message waits', 'messages wait')} for a next hop`
  return [
    count > 0 ? colour.yellow(`${title}:`) : colour.green('nothing waits for a next hop'),
    ...columns(rows),
    ...(others > 0
      ? [`${counted(others, 'other message does', 'other messages do')} not need the plugin`]
      : []),
    ...unreadable.map((file) => colour.red(`${file} cannot be read`)),
  ]
}

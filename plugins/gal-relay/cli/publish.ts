// gal-relay publish: reads the directories here and publishes their lists to servers that may not ask them.
import path from 'node:path'
import { Command } from 'commander'
import { readListKeys } from '../fleet/list-keys'
import { Refused } from '../gal/snapshot/keeper'
import type { ListSettings } from '../gal/snapshot/list-settings'
import { publishOnce } from '../gal/snapshot/publish-once'
import { Sharing } from '../gal/snapshot/sharing'
import { guard } from '../guard'
import type { Log } from '../log'
import { counted } from '../report/words'
import { DEFAULT, type DirectorySettings, fileFor } from '../settings/directories'
import type { ListCarrier, ListChannel } from '../settings/list-channel'
import type { RedisSettings } from '../settings/redis'
import { parseRedisUrl, REDIS_PREFIX } from '../settings/redis-url'
import type { Settings } from '../settings/settings'
import { ROOT_AND_US } from '../trusted-file'
import { CannotRun, openConfigured, SILENT } from './install'
import { colour, printError, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly to?: string
  readonly once?: boolean
  readonly force?: boolean
  readonly directory?: string
}

const EXAMPLES = `
For servers with mode = received. Reads every directory, whatever its mode, and follows its changes until it is
ended with SIGTERM or SIGINT. Of several that publish to one Redis, one reads, and another takes over when that
one ends. To FILE goes the list of [ldap], and to FILE with .NAME in its name that of [directory NAME]. See
docs/edge.md. With --once, exit code 1 if a list was refused, 2 if one was not read or published.

Examples:
  To the Redis of [redis]:
    gal-relay publish
  To another one:
    gal-relay publish --to rediss://redis.dmz.example
  To a file, for rsync or a shared folder:
    gal-relay publish --to /srv/lists/gal.list
  Once, for cron:
    gal-relay publish --once --to /srv/lists/gal.list
  The list has shrunk by more than shrink_limit, and that is right:
    gal-relay publish --once --force`

export function publishCommand(): Command {
  return new Command('publish')
    .description('hand the lists on to servers that may not ask the directory (mode = received)')
    .option('--to <where>', 'redis://…, rediss://…, redis for that of [redis], or a file')
    .option('--once', 'publish the lists as they are now, and end')
    .option('--force', 'with --once: accept a list, however few recipients it has')
    .option('--directory <name>', 'only the list of that directory')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  if (options.force && !options.once) throw new CannotRun('--force needs --once')
  const { settings } = await openConfigured(options.config)
  const lists = toPublish(settings, options)
  for (const { channel } of lists) await requireKeys(channel)
  if (options.once) await once(lists, options)
  else await untilEnded(lists)
}

interface Published {
  readonly name: string
  readonly settings: ListSettings
  readonly channel: ListChannel
}

/** @throws CannotRun */
function toPublish(settings: Settings, options: Options): readonly Published[] {
  const { all } = settings.directories
  const readable = all.filter(({ ldap }) => ldap.url.length > 0)
  const named = readable.filter(({ name }) => name === (options.directory ?? name))
  if (named.length === 0) {
    const names = readable.map(({ name }) => name).join(', ') || 'none'
    throw new CannotRun(
      options.directory === undefined
        ? 'there is no directory to read: [ldap] url[]'
        : `there is no directory ${options.directory} to read; there is ${names}`,
    )
  }
  return named.map((directory) => published(directory, settings, options))
}

function published(
  { name, gal, ldap, snapshot }: DirectorySettings,
  settings: Settings,
  options: Options,
): Published {
  const { channel: _, ...own } = snapshot
  if (own.key_file === '') {
    throw new CannotRun(
      `[snapshot] key_file is missing: the secret that lists are signed with, the same as on the servers ` +
        'that receive them',
    )
  }
  const isOnly = name === DEFAULT || options.directory !== undefined
  const to = carrier(settings, options.to)
  const ours = 'file' in to && !isOnly ? { file: fileFor(name, to.file) } : to
  const { key_file, trusted } = own
  const channel: ListChannel = {
    ...{ role: 'publish', list: name, key_file, carrier: ours },
    ...(trusted ? { trusted } : {}),
  }
  // A Haraka on this machine keeps its own list in its own file.
  const file = `${own.file}.published`
  const forcedBy = 'gal-relay publish --once --force'
  return { name, channel, settings: { gal, ldap, snapshot: { ...own, file, forcedBy } } }
}

/** @throws CannotRun */
function carrier({ redis }: Settings, to = 'redis'): ListCarrier {
  if (to === 'redis') {
    if (redis) return { redis }
    throw new CannotRun('there is no [redis] section: name where to publish with --to')
  }
  if (!/^\w+:\/\//.test(to)) return { file: path.resolve(to) }
  const server = parseRedisUrl(to)
  if (typeof server === 'string') throw new CannotRun(`--to ${to} ${server}`)
  const none: RedisSettings = { url: [], password_file: '', tls_ca: '', prefix: REDIS_PREFIX }
  return { redis: { ...(redis && !redis.isHarakas ? redis : none), url: [server] } }
}

async function requireKeys({ key_file, trusted = ROOT_AND_US }: ListChannel): Promise<void> {
  try {
    await readListKeys(key_file, trusted)
  } catch (error) {
    throw new CannotRun(`[snapshot] key_file: ${error instanceof Error ? error.message : error}`)
  }
}

async function untilEnded(lists: readonly Published[]): Promise<void> {
  const ended = new AbortController()
  const leave = () => ended.abort(new Error('ended'))
  const end = guard('end of gal-relay publish', leave, leave)
  process.once('SIGTERM', end)
  process.once('SIGINT', end)
  await Promise.all(
    lists.map(({ name, settings, channel }) =>
      new Sharing(settings, channel, logOf(lists.length > 1 ? `${name}: ` : '')).run(ended.signal),
    ),
  )
}

/** @param name prefix of each line */
function logOf(name: string): Log {
  const print = (text: string) => printLines([name + text])
  const warn = (text: string) => printError(name + text)
  return { debug() {}, info: print, notice: print, warn, error: warn }
}

async function once(lists: readonly Published[], options: Options): Promise<void> {
  const directories: object[] = []
  for (const { name, settings, channel } of lists) {
    const sync = { force: options.force ?? false, log: SILENT, onProgress() {} }
    try {
      const result = await publishOnce(settings, channel, sync)
      directories.push({ directory: name, ...result })
      if (!options.json) {
        const recipients = counted(result.recipients, 'recipient')
        printLines([`${colour.green(`${recipients} published`)}: list ${name} of ${result.server}`])
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error
      const isRefused = error instanceof Refused
      const what = isRefused ? 'the list was refused' : 'the list was not published'
      directories.push({ directory: name, error: `${what}: ${error.message}` })
      if (!options.json) printError(`list ${name}: ${what}: ${error.message}`)
      process.exitCode = Math.max(Number(process.exitCode ?? 0), isRefused ? 1 : 2)
    }
  }
  if (options.json) printJson({ directories })
}

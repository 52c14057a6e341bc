// gal-relay harvest: lists the clients that harvest defence holds off, and releases them. With
// Redis, asks Redis for all servers; without it, the server that runs in the install's folder.
import { Command } from 'commander'
import { askServer } from '../control/client'
import { socketFile } from '../control/server'
import { clientFor, endClient, type RedisClient } from '../fleet/redis'
import { redisKey } from '../harvest/counters'
import { networkNamed } from '../harvest/defence'
import { heldTogether, LIST, RELEASE } from '../harvest/harvest'
import { type Hold, Holds, keyOf } from '../harvest/holds'
import { addHoldEvent, readHoldEvents } from '../harvest/shared-holds'
import { counted } from '../report/words'
import { configDir } from '../settings/haraka-files'
import type { RedisSettings } from '../settings/settings'
import { CannotRun, type Configured, openConfigured } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
Asks Redis where servers share what they count ([redis], or config/redis.ini), else the server that runs in the
install's folder: as root, or as the user that Haraka runs as.

Exit code 1 when harvest defence is off.

Examples:
  Who is held off, since when, and for how long still:
    gal-relay harvest
  A partner with an old list of addresses has put it right:
    gal-relay harvest release 192.0.2.10
  How many are held off, for a script:
    gal-relay harvest --json | jq '.held | length'`

export function harvestCommand(): Command {
  const command = new Command('harvest')
    .description('who is held off for asking for unknown recipients; lets a network go')
    .addHelpText('after', EXAMPLES)
    .action(list)
  const release = new Command('release')
    .argument('<network>', 'as it is listed, or an address in it')
    .description('lets a network go; it is counted anew. Exit code 1 when it was not held off')
    .action(letGo)
  command.addCommand(release.copyInheritedSettings(command))
  return command
}

async function list(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const configured = await openConfigured(options.config)
  if (isOff(configured, options)) return
  const held = await holdsOf(configured)
  if (options.json) printJson({ enabled: true, held })
  else printLines(inWords(held, Date.now()))
}

async function letGo(name: string, _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const configured = await openConfigured(options.config)
  if (isOff(configured, options)) return
  const network = networkNamed(name, configured.settings.harvest.network)
  if (!network) throw new CannotRun(`${name} is no network: name one as gal-relay harvest lists it`)
  const isReleased = await release(configured, network)
  if (options.json) printJson({ network, released: isReleased })
  else if (isReleased) printLines([colour.green(`${network} is let go`)])
  else printLines([`${network} was not held off`])
  if (!isReleased) process.exitCode = 1
}

function isOff({ settings }: Configured, options: Options): boolean {
  if (settings.harvest.enabled) return false
  if (options.json) printJson({ enabled: false, held: [] })
  else printLines(['harvest defence is off: [harvest] enabled = true switches it on'])
  process.exitCode = 1
  return true
}

async function holdsOf({ config, settings }: Configured): Promise<Hold[]> {
  const { redis } = settings
  if (!redis) {
    const held = await askRunning(config, { command: LIST })
    return heldTogether([held as Hold[]])
  }
  return withRedis(redis, (client) => holdsIn(client, redis, settings.harvest.hold_off))
}

async function release({ config, settings }: Configured, network: string): Promise<boolean> {
  const { redis } = settings
  if (!redis) return (await askRunning(config, { command: RELEASE, network })) === true
  return withRedis(redis, async (client) => {
    const held = await holdsIn(client, redis, settings.harvest.hold_off)
    if (!held.some((hold) => hold.network === network)) return false
    await addHoldEvent(client, redis.prefix, { event: 'release', network })
    const keys = [false, true].map((observed) => keyOf(network, observed))
    await client.del(keys.map((key) => `${redisKey(redis.prefix)}:${key}`))
    return true
  })
}

async function holdsIn(
  client: RedisClient,
  { prefix }: RedisSettings,
  holdOff: number,
): Promise<Hold[]> {
  const holds = new Holds()
  const now = Date.now()
  for (const { event, at } of await readHoldEvents(client, prefix, now - holdOff)) {
    holds.take(event, at)
  }
  return holds.all(now)
}

async function askRunning(
  config: Haraka.Config,
  request: { readonly command: string; readonly network?: string },
): Promise<unknown> {
  try {
    return await askServer(socketFile(configDir(config)), request)
  } catch (error) {
    throw new CannotRun(error instanceof Error ? error.message : String(error))
  }
}

/** In milliseconds. */
const CONNECTED_WITHIN = 5000

async function withRedis<T>(
  settings: RedisSettings,
  work: (client: RedisClient) => Promise<T>,
): Promise<T> {
  let client: RedisClient | undefined
  try {
    client = await clientFor(settings, () => {}, CONNECTED_WITHIN)
    await client.connect()
    return await work(client)
  } catch (error) {
    const server = settings.url.map(({ text }) => text).join(', ')
    const reason = error instanceof Error ? error.message : String(error)
    throw new CannotRun(`Redis cannot be asked (${server}): ${reason}`)
  } finally {
    if (client) endClient(client)
  }
}

function inWords(held: readonly Hold[], now: number): string[] {
  if (held.length === 0) return [colour.green('nobody is held off')]
  const rows = held.map(({ network, observed, since, until, unknown, all, server }) => [
    `  ${network}`,
    all > 0 ? `${unknown} of ${all} unknown` : '',
    `since ${new Date(since).toISOString()}`,
    `for ${Math.ceil((until - now) / 60_000)} min more`,
    [observed && 'observed only', server && `detected by ${server}`].filter(Boolean).join(', '),
  ])
  return [
    colour.yellow(`${counted(held.length, 'network is', 'networks are')} held off:`),
    ...columns(rows),
  ]
}

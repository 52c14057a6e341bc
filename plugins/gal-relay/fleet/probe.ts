// What `gal-relay check` finds out about Redis: does it answer, may we write to it, will it keep
// our keys.

import type { RedisSettings } from '../settings/redis'
import { clientFor, endClient, type RedisClient } from './redis'

export interface RedisFinding {
  readonly level: 'ok' | 'note' | 'warning' | 'problem'
  readonly text: string
}

const CONNECTED_WITHIN = 5000
/**
 * The first release that refuses EVAL of a script that writes when memory is full. Stream trimming
 * and `SET … EX` are older.
 */
const OLDEST = 6

/** @param holdsLists whether it also carries lists from server to server */
export async function probeRedis(
  settings: RedisSettings,
  holdsLists = false,
): Promise<readonly RedisFinding[]> {
  const server = settings.url.map(({ text }) => text).join(', ')
  let client: RedisClient | undefined
  try {
    // Errors also come with the command that is running.
    client = await clientFor(settings, () => {}, CONNECTED_WITHIN)
    await client.connect()
  } catch (error) {
    if (client) endClient(client)
    return [{ level: 'problem', text: `cannot be asked: ${reasonOf(error)}` }]
  }
  try {
    return [
      await versionFinding(client, server),
      ...(await rightsFindings(client, settings.prefix, holdsLists)),
      ...(await memoryFindings(client, holdsLists)),
    ]
  } finally {
    endClient(client)
  }
}

async function versionFinding(client: RedisClient, server: string): Promise<RedisFinding> {
  try {
    const [, version = ''] = /^redis_version:(\S+)/m.exec(await client.info('server')) ?? []
    const isOld = Number.parseInt(version, 10) < OLDEST
    const text = `${server} answers: Redis ${version}`
    return isOld
      ? { level: 'warning', text: `${text}; ${OLDEST}.0 is the oldest that the plugin is made for` }
      : { level: 'ok', text }
  } catch (error) {
    return {
      level: 'note',
      text: `${server} answers, and does not tell its release: ${reasonOf(error)}`,
    }
  }
}

type Attempt = readonly [what: string, () => Promise<unknown>]

const ofLists = (client: RedisClient, key: string): readonly Attempt[] => [
  ['GET', () => client.get(key)],
  ['EXISTS', () => client.exists(key)],
  ['XLEN', () => client.xLen(`${key}:stream`)],
  ['XREVRANGE', () => client.xRevRange(`${key}:stream`, '+', '-')],
  ['XREAD', () => client.xRead({ key: `${key}:stream`, id: '0-0' })],
]

/** Tries the commands that the server uses, on separate keys. */
async function rightsFindings(
  client: RedisClient,
  prefix: string,
  holdsLists: boolean,
): Promise<readonly RedisFinding[]> {
  const key = `${prefix}check:${process.pid}`
  const script = "return redis.call('incrby', KEYS[1], 1)"
  const attempts: readonly Attempt[] = [
    ['SET', () => client.set(key, '0', { expiration: { type: 'EX', value: 60 } })],
    ['EVAL with INCRBY', () => client.eval(script, { keys: [key], arguments: [] })],
    ['PTTL', () => client.pTTL(key)],
    ['XADD', () => client.xAdd(`${key}:stream`, '*', { event: '' })],
    ['XRANGE', () => client.xRange(`${key}:stream`, '-', '+')],
    ...(holdsLists ? ofLists(client, key) : []),
    ['DEL', () => client.del([key, `${key}:stream`])],
  ]
  const findings: RedisFinding[] = []
  for (const [what, attempt] of attempts) {
    try {
      await attempt()
    } catch (error) {
      findings.push({ level: 'problem', text: `${what} is refused: ${reasonOf(error)}` })
    }
  }
  return findings.length > 0
    ? findings
    : [{ level: 'ok', text: `keys that begin with ${prefix} may be written and read` }]
}

async function memoryFindings(
  client: RedisClient,
  holdsLists: boolean,
): Promise<readonly RedisFinding[]> {
  try {
    const memory = await client.info('memory')
    const field = (key: string) => new RegExp(`^${key}:(\\S+)`, 'm').exec(memory)?.[1] ?? ''
    const most = Number(field('maxmemory'))
    const policy = field('maxmemory_policy')
    if (most === 0 || policy === 'noeviction') return []
    const isVolatile = policy.startsWith('volatile')
    const what = isVolatile
      ? 'counts of harvest defence'
      : `counts of harvest defence, and who is held off${holdsLists ? ', and lists' : ''}`
    return [
      {
        level: 'warning',
        text:
          `maxmemory-policy = ${policy}: when its memory is full, Redis drops ${what}; a Redis of its own, ` +
          'or maxmemory-policy = noeviction, does not',
      },
    ]
  } catch (error) {
    return [
      {
        level: 'note',
        text: `whether it drops keys when it is full is not known: ${reasonOf(error)}`,
      },
    ]
  }
}

const reasonOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

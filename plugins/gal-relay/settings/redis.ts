// The Redis through which servers share what they know: `[redis]`, or the one that Haraka's own
// plugins use (config/redis.ini of haraka-plugin-redis 2).
import type { Trusted } from '../trusted-file'
import { readIniFile } from './haraka-files'
import { trustedOwners } from './owners'
import { REDIS_PORT, REDIS_PREFIX, type RedisServer } from './redis-url'
import type { SectionReader } from './sections'

export interface RedisSettings {
  /** Several URLs are the Sentinels of one group. */
  readonly url: readonly RedisServer[]
  /** '' if there is none. */
  readonly password_file: string
  readonly tls_ca: string
  /** The prefix of every key. */
  readonly prefix: string
  /** Whether the settings come from config/redis.ini. */
  readonly isHarakas?: boolean
  /** The users and groups whose files are trusted. */
  readonly trusted?: Trusted
}

/** Reports what is wrong with the section as a whole. */
export function reportRedis(
  { url, password_file, tls_ca }: RedisSettings,
  sections: SectionReader,
): void {
  const report = (key: string, what: string) => sections.report({ section: 'redis', key, what })
  const [first] = url
  if (!first) {
    report('url', 'is missing: url = redis://redis.corp.example')
    return
  }
  if (url.length > 1 && url.some(({ path, tls }) => path !== first.path || tls !== first.tls)) {
    report('url[]', 'name Sentinels of several groups; several servers are Sentinels of one')
  }
  if (url.length === 1 && !/^\d{0,4}$/.test(first.path)) {
    report('url', `has '${first.path}' behind the host, which is not the number of a database`)
  }
  if (password_file && url.some(({ password }) => password !== undefined)) {
    report('password_file', 'stands beside a password in the URL, and only one can count')
  }
  if (tls_ca && !first.tls) report('tls_ca', 'has no effect without rediss://')
}

/**
 * Reads `[server]` and `[opts]` of config/redis.ini, with the defaults of haraka-plugin-redis.
 * @returns `undefined` if there is no such file, or it names no server
 */
export function redisOfHaraka(config: Haraka.Config): RedisSettings | undefined {
  const { server, opts = {} } = readIniFile(config, 'redis.ini')
  if (!server) return undefined
  const given: Readonly<Record<string, unknown>> = { ...opts, ...server }
  const text = (key: string) => (given[key] === undefined ? undefined : String(given[key]))
  const socket = text('path')
  const host = text('host') ?? text('ip') ?? '127.0.0.1'
  const port = Number(text('port') ?? REDIS_PORT)
  const path = text('database') ?? text('db') ?? ''
  const shown = socket ?? `redis://${host}:${port}`
  return {
    url: [
      {
        tls: /^(true|1)$/i.test(text('tls') ?? ''),
        host,
        port,
        socket,
        path,
        username: text('username'),
        password: text('password'),
        text: `${shown}${path && `/${path}`}`,
      },
    ],
    password_file: '',
    tls_ca: '',
    prefix: REDIS_PREFIX,
    isHarakas: true,
    trusted: trustedOwners(config),
  }
}

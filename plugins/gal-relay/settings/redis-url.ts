// The URL of a Redis server, or of a Sentinel.

/** One server: Redis itself, or a Sentinel that knows which server Redis is. */
export interface RedisServer {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  /** A Unix-domain socket, instead of host and port. */
  readonly socket?: string
  /** The part after the slash: the database number, or the Sentinels' name for the group. */
  readonly path: string
  readonly username: string | undefined
  readonly password: string | undefined
  /** The URL, safe to show. */
  readonly text: string
}

export const REDIS_PREFIX = 'gal-relay:'

export const REDIS_PORT = 6379

/** @returns the server, or a text that says what is wrong */
export function parseRedisUrl(text: string): RedisServer | string {
  if (/[\s,]/.test(text)) return 'holds more than one value; write url[] for each Sentinel'
  const [, scheme = ''] = /^(rediss?):\/\//i.exec(text) ?? []
  if (!scheme || !URL.canParse(text)) {
    const meant = /^[\w.-]+(:\d+)?$/.test(text) ? `; probably meant: redis://${text}` : ''
    return `is not a redis:// or rediss:// URL${meant}`
  }
  const { hostname, port, pathname, username, password, search, hash } = new URL(text)
  const path = decodeURIComponent(pathname.slice(1))
  if (!hostname) return 'has no host behind ://'
  if (search || hash || !/^[\w.-]*$/.test(path)) {
    return 'has more than host, port and the number of a database'
  }
  const tls = scheme.toLowerCase() === 'rediss'
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return {
    tls,
    host,
    port: port === '' ? REDIS_PORT : Number(port),
    path,
    username: username ? decodeURIComponent(username) : undefined,
    password: password ? decodeURIComponent(password) : undefined,
    text: `${scheme.toLowerCase()}://${hostname}:${port || REDIS_PORT}${path && `/${path}`}`,
  }
}

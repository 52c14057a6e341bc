// Decides which of several servers reads the directory for all: the one that holds a key in Redis,
// which expires unless it is prolonged. A server that cannot prolong it in time considers it lost
// before another one can get it, and scripts that write a list to Redis check the key first.
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { RedisClient } from './redis'

/** Milliseconds. Another server takes over within LOCK_LASTS plus LOCK_TRIED. */
export const LOCK_LASTS = 9000
export const LOCK_PROLONGED = 2000
export const LOCK_TRIED = 2000
/** A lock that is not prolonged for this long counts as lost, before it expires in Redis. */
export const LOCK_HELD = 6000
/** After this long, the holder asks the directory nothing more, whatever stood still meanwhile. */
export const LOCK_READS = 8000

// A lock that Redis has lost, and that nobody has taken since, is still ours.
const PROLONG = `local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`
const RELEASE = `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('del', KEYS[1])`

export class RedisLock {
  /** Also tells people who holds the lock. */
  readonly token = `${hostname()} ${process.pid} ${randomBytes(9).toString('base64url')}`
  readonly #key: string

  constructor(prefix: string, list: string) {
    this.#key = `${prefix}list:${list}:lock`
  }

  /** @returns `true` if the lock is ours now, else its holder's token */
  async take(client: RedisClient): Promise<true | string> {
    const expiration = { type: 'PX', value: LOCK_LASTS } as const
    const result = await client.set(this.#key, this.token, { expiration, condition: 'NX' })
    if (result === 'OK') return true
    const holder = (await client.get(this.#key)) ?? ''
    // An earlier attempt may have succeeded although its answer was lost.
    return holder === this.token ? (await this.prolong(client)) || '' : holder
  }

  /** Announces for a while that another server wants the lock. */
  async wait(client: RedisClient): Promise<void> {
    const expiration = { type: 'PX', value: 3 * LOCK_TRIED } as const
    await client.set(`${this.#key}:waiting`, this.token, { expiration })
  }

  async isWaitedFor(client: RedisClient): Promise<boolean> {
    return (await client.exists(`${this.#key}:waiting`)) > 0
  }

  /** @returns whether the lock is still ours */
  async prolong(client: RedisClient): Promise<boolean> {
    const args = [this.token, String(LOCK_LASTS)]
    return Boolean(await client.eval(PROLONG, { keys: [this.#key], arguments: args }))
  }

  async release(client: RedisClient): Promise<void> {
    await client.eval(RELEASE, { keys: [this.#key], arguments: [this.token] })
  }
}

/** @returns the server named in a token */
export const holderOf = (token: string) => /^[\w.-]+/.exec(token)?.[0] ?? 'another server'

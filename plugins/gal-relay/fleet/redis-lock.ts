// Which of several servers reads the directory for all: the one that holds a key in Redis, which ends by
// itself unless it is prolonged. Nobody takes it for granted: who could not prolong it in time has lost it
// before another one can have it, and what is written to Redis is written by scripts that look at the key.
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { RedisClient } from './redis'

/** Milliseconds. Another server takes over within LOCK_LASTS and LOCK_TRIED. */
export const LOCK_LASTS = 9000
export const LOCK_PROLONGED = 2000
export const LOCK_TRIED = 2000
/** After so long without having been prolonged it counts as lost: earlier than it ends in Redis. */
export const LOCK_HELD = 6000
/** And after so long nobody asks the directory anything more by right of it, whatever stood still meanwhile. */
export const LOCK_READS = 8000

// One that Redis has lost, and that nobody has taken since, is ours still.
const PROLONG = `local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`
const RELEASE = `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('del', KEYS[1])`

export class RedisLock {
  /** Says who holds it, for people. */
  readonly token = `${hostname()} ${process.pid} ${randomBytes(9).toString('base64url')}`
  readonly #key: string

  constructor(prefix: string, list: string) {
    this.#key = `${prefix}list:${list}:lock`
  }

  /** @returns whether it is ours now, or the token of whoever has it */
  async take(client: RedisClient): Promise<true | string> {
    const expiration = { type: 'PX', value: LOCK_LASTS } as const
    const result = await client.set(this.#key, this.token, { expiration, condition: 'NX' })
    if (result === 'OK') return true
    const holder = (await client.get(this.#key)) ?? ''
    // That it was taken may not have been heard of.
    return holder === this.token ? (await this.prolong(client)) || '' : holder
  }

  /** Says for a while that another server would have it. */
  async wait(client: RedisClient): Promise<void> {
    const expiration = { type: 'PX', value: 3 * LOCK_TRIED } as const
    await client.set(`${this.#key}:waiting`, this.token, { expiration })
  }

  async isWaitedFor(client: RedisClient): Promise<boolean> {
    return (await client.exists(`${this.#key}:waiting`)) > 0
  }

  /** @returns whether it is ours still */
  async prolong(client: RedisClient): Promise<boolean> {
    const args = [this.token, String(LOCK_LASTS)]
    return Boolean(await client.eval(PROLONG, { keys: [this.#key], arguments: args }))
  }

  async release(client: RedisClient): Promise<void> {
    await client.eval(RELEASE, { keys: [this.#key], arguments: [this.token] })
  }
}

/** The server in a token. */
export const holderOf = (token: string) => /^[\w.-]+/.exec(token)?.[0] ?? 'another server'

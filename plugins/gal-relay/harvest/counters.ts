// Counts the recipients, and the unknown recipients, that a network has named within the window. The counters
// are those of rate-limiter-flexible: in this process, in the master of a cluster, or in Redis. If the shared
// counter cannot be reached, this process counts by itself.
import type { RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible'

/** What a network has named within the window, as far as this process knows. */
export interface Count {
  readonly unknown: number
  readonly all: number
  /** Remaining milliseconds for which the network is held off; undefined if it is not. */
  readonly heldFor: number | undefined
  /** Milliseconds until the count starts again. */
  readonly endsIn: number
}

/** Recipients of a network. */
export interface Recipients {
  readonly unknown: number
  /** All others. */
  readonly others: number
}

/** A counter that is shared with other processes. */
export interface SharedCounter {
  /** Rejects while it cannot be reached. */
  run<T>(work: (limiter: RateLimiterAbstract) => Promise<T>): Promise<T>
  /** Its keys are in the memory of this server. */
  readonly isLocal: boolean
}

/**
 * Both counts are in one number, so that they change in one step and expire together. With two counters, one
 * of which has just expired, the share would be meaningless.
 */
const UNKNOWN = 2 ** 26
/** More than any count: marks a network that is held off, for as long as the counter lives. */
const HELD = 2 ** 52

/** Prefix of the counters' keys in Redis, followed by a colon and the network. */
export const redisKey = (prefix: string) => `${prefix}harvest`

export interface CounterOptions {
  readonly points: number
  /** Seconds. */
  readonly duration: number
  readonly keyPrefix: string
}

/** @param window milliseconds from the first recipient that is counted */
export const counterOptions = (window: number, keyPrefix: string): CounterOptions => ({
  points: HELD,
  duration: window / 1000,
  keyPrefix,
})

export class Counters {
  readonly #own: RateLimiterAbstract
  readonly #shared: SharedCounter | undefined

  constructor(own: RateLimiterAbstract, shared?: SharedCounter) {
    this.#own = own
    this.#shared = shared
  }

  /**
   * @param news what has not been counted anywhere yet
   * @param owed what the shared counter missed while it was unreachable, so that it does not count unknown
   *   recipients without the others
   * @returns whether the shared counter has been updated
   */
  async add(
    key: string,
    news: Recipients,
    owed: Recipients,
  ): Promise<{ readonly count: Count; readonly isShared: boolean }> {
    const points = pointsOf(news)
    // Always counted, so that this process knows everything if it has to count alone.
    const own = await this.#own.penalty(key, points)
    if (!this.#shared) return { count: countOf(own), isShared: true }
    try {
      const all = points + pointsOf(owed)
      const counted = await this.#shared.run((limiter) => limiter.penalty(key, all))
      return { count: countOf(counted), isShared: true }
    } catch {
      return { count: countOf(own), isShared: false }
    }
  }

  /** The next count of the network says that it is held off. */
  async hold(key: string, milliseconds: number): Promise<void> {
    const hold = (limiter: RateLimiterAbstract) => limiter.block(key, milliseconds / 1000)
    await hold(this.#own)
    await this.#shared?.run(hold).catch(() => {})
  }

  /** Starts the network's count again. */
  async reset(key: string): Promise<void> {
    await this.#own.delete(key)
    await this.#shared?.run((limiter) => limiter.delete(key)).catch(() => {})
  }

  /** Forgets networks that have been silent for a long time. */
  async drop(key: string): Promise<void> {
    if (!this.#shared || this.#shared.isLocal) await this.reset(key)
    else await this.#own.delete(key)
  }
}

const pointsOf = ({ unknown, others }: Recipients) => unknown * (UNKNOWN + 1) + others

function countOf({ consumedPoints, msBeforeNext }: RateLimiterRes): Count {
  const endsIn = msBeforeNext
  if (consumedPoints > HELD) return { unknown: 0, all: 0, heldFor: endsIn, endsIn }
  const unknown = Math.floor(consumedPoints / UNKNOWN)
  return { unknown, all: consumedPoints - unknown * UNKNOWN, heldFor: undefined, endsIn }
}

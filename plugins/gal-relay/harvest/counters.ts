// How many recipients, and how many unknown ones, a network has named within the window. The counting is
// rate-limiter-flexible's: in this process, in the master of a cluster, or in Redis. Where the shared
// counter cannot be asked, this process counts for itself.
import type { RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible'

/** What a network has named within the window, by what is known here. */
export interface Count {
  readonly unknown: number
  readonly all: number
  /** Milliseconds for which the network is held off still; undefined: it is not. */
  readonly heldFor: number | undefined
  /** Milliseconds until the count begins anew. */
  readonly endsIn: number
}

/** Recipients of a network. */
export interface Recipients {
  readonly unknown: number
  /** All others. */
  readonly others: number
}

/** A counter that others count with as well. */
export interface SharedCounter {
  /** Rejects when it cannot be asked now. */
  run<T>(work: (limiter: RateLimiterAbstract) => Promise<T>): Promise<T>
  /** It keeps keys in the memory of this server. */
  readonly isLocal: boolean
}

/**
 * Both numbers are in one, so that they are added to in one step and begin and end together: a share of
 * two counters, one of which has just begun anew, would be any number.
 */
const UNKNOWN = 2 ** 26
/** More than any count: the network is held off, and the counter lives as long as that. */
const HELD = 2 ** 52

/** What the keys of counters in Redis begin with; a colon and the network follow. */
export const redisKey = (prefix: string) => `${prefix}harvest`

export interface CounterOptions {
  readonly points: number
  /** Seconds. */
  readonly duration: number
  readonly keyPrefix: string
}

/** @param window milliseconds, from the first recipient that is counted */
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
   * @param news what has not been counted anywhere
   * @param owed what the shared counter has not been told, because it could not be asked; so that nobody's
   *   unknown recipients are counted there and the others are not
   * @returns whether the shared counter has been told now
   */
  async add(
    key: string,
    news: Recipients,
    owed: Recipients,
  ): Promise<{ readonly count: Count; readonly isShared: boolean }> {
    const points = pointsOf(news)
    // Always, so that it knows all of what came here once it is needed.
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

  /** Whoever counts the network next hears that it is held off. */
  async hold(key: string, milliseconds: number): Promise<void> {
    const hold = (limiter: RateLimiterAbstract) => limiter.block(key, milliseconds / 1000)
    await hold(this.#own)
    await this.#shared?.run(hold).catch(() => {})
  }

  /** The network begins anew. */
  async reset(key: string): Promise<void> {
    await this.#own.delete(key)
    await this.#shared?.run((limiter) => limiter.delete(key)).catch(() => {})
  }

  /** Gives up what is kept in memory for a network that has not been heard of for long. */
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

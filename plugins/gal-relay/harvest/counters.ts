// How many recipients, and how many unknown ones, a network has named within the window. The counting is
// rate-limiter-flexible's: in this process, in the master of a cluster, or in Redis. Where the shared
// counter cannot be asked, this process counts for itself.
import type { RateLimiterAbstract } from 'rate-limiter-flexible'

/** What a network has named within the window, by what is known here. */
export interface Count {
  readonly unknown: number
  readonly all: number
  /** Milliseconds for which the network is held off still; undefined: it is not. */
  readonly heldFor: number | undefined
}

/** A counter that others count with as well. */
export interface SharedCounter {
  /** Rejects when it cannot be asked now. */
  run<T>(work: (limiter: RateLimiterAbstract) => Promise<T>): Promise<T>
  /** It keeps keys in the memory of this server. */
  readonly isLocal: boolean
}

/**
 * Both numbers stand in one, so that they are added to in one step and begin and end together: a share of
 * two counters, one of which has just begun anew, would be any number.
 */
const UNKNOWN = 2 ** 26
/** More than any count: the network is held off, and the counter lives as long as that. */
const HELD = 2 ** 52

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

  async add(key: string, unknown: number, others: number): Promise<Count> {
    const points = unknown * (UNKNOWN + 1) + others
    const counted = await this.#run((limiter) => limiter.penalty(key, points))
    const { consumedPoints, msBeforeNext } = counted
    return consumedPoints > HELD
      ? { unknown: 0, all: 0, heldFor: msBeforeNext }
      : { ...countsIn(consumedPoints), heldFor: undefined }
  }

  /** Whoever counts the network next hears that it is held off. */
  async hold(key: string, milliseconds: number): Promise<void> {
    await this.#run((limiter) => limiter.block(key, milliseconds / 1000))
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

  async #run<T>(work: (limiter: RateLimiterAbstract) => Promise<T>): Promise<T> {
    if (!this.#shared) return work(this.#own)
    try {
      return await this.#shared.run(work)
    } catch {
      return work(this.#own)
    }
  }
}

function countsIn(points: number): { readonly unknown: number; readonly all: number } {
  const unknown = Math.floor(points / UNKNOWN)
  return { unknown, all: points - unknown * UNKNOWN }
}

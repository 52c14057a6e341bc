// Remembers what one server can be searched for. This is read whenever the server comes up, before it is
// asked for recipients, and now and then in the background.

import type { Turn } from '../../ldap/turn'
import type { Searchable } from './searchable'

/** Rights and schemas seldom change; but if one is missing, somebody may be about to add it. */
const GOOD_FOR = 60_000
const DOUBTFUL_FOR = 10_000
/** Reading takes up at most this fraction (1 / SHARE) of the time. */
const SHARE = 50

/**
 * @param took how long reading took, milliseconds
 * @returns how long the result is valid, milliseconds
 */
export function goodFor({ doubts }: Pick<Searchable, 'doubts'>, took: number): number {
  return doubts.length > 0 ? DOUBTFUL_FOR : Math.max(GOOD_FOR, SHARE * took)
}

export class KnownSearchable {
  /** The last result, from whichever server was there at the time. */
  current: Searchable | undefined
  #reading: Promise<Searchable> | undefined
  #readAt = 0
  #took = 0
  /** Whether `current` was read when the server came up, or later. */
  #isOfNow = false

  /**
   * @param read asks the server
   * @throws DirectoryError if it cannot be read in time
   */
  async of(turn: Pick<Turn, 'within'>, read: () => Promise<Searchable>): Promise<Searchable> {
    const { current } = this
    if (current && this.#isOfNow) {
      // An old result is better than none, and no look-up has to wait for the next one.
      const age = performance.now() - this.#readAt
      if (age > goodFor(current, this.#took) && !this.#reading) {
        this.#read(read).catch(() => {})
      }
      return current
    }
    return await turn.within(this.#reading ?? this.#read(read))
  }

  /**
   * Reads again after the server has come back, or after another server has taken its place.
   * @throws DirectoryError if it cannot be read; the next call of `of` then tries again
   */
  async renew(read: () => Promise<Searchable>): Promise<void> {
    this.#isOfNow = false
    await this.#read(read)
  }

  #read(read: () => Promise<Searchable>): Promise<Searchable> {
    const startedAt = performance.now()
    const reading = read()
      .then((searchable) => {
        // A reading that began before the server went away says nothing about it now.
        if (this.#reading === reading) {
          this.current = searchable
          this.#isOfNow = true
        }
        return searchable
      })
      .finally(() => {
        if (this.#reading !== reading) return
        this.#readAt = performance.now()
        this.#took = this.#readAt - startedAt
        this.#reading = undefined
      })
    this.#reading = reading
    return reading
  }
}

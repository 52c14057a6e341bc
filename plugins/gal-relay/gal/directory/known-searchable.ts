// What one server can be searched for, as it was found out last: read whenever the server comes up,
// before it is asked for recipients, and now and then in the background.

import type { Turn } from '../../ldap/turn'
import type { Searchable } from './searchable'

/** Rights and schemas change seldom; where one is missing, somebody may be giving it. */
const GOOD_FOR = 60_000
const DOUBTFUL_FOR = 10_000
/** Of the time, at most one part in so many is spent on reading it. */
const SHARE = 50

/**
 * @param took milliseconds that it took to be read
 * @returns for how many milliseconds what was read counts
 */
export function goodFor({ doubts }: Pick<Searchable, 'doubts'>, took: number): number {
  return doubts.length > 0 ? DOUBTFUL_FOR : Math.max(GOOD_FOR, SHARE * took)
}

export class KnownSearchable {
  /** As it was read last, from whichever server stood there then. */
  current: Searchable | undefined
  #reading: Promise<Searchable> | undefined
  #readAt = 0
  #took = 0
  /** It was read since the server came up, or when it did. */
  #isOfNow = false

  /**
   * @param read asks the server
   * @throws DirectoryError when it cannot be known in time
   */
  async of(turn: Pick<Turn, 'within'>, read: () => Promise<Searchable>): Promise<Searchable> {
    const { current } = this
    if (current && this.#isOfNow) {
      // An old answer is better than none: nobody waits for the next.
      const age = performance.now() - this.#readAt
      if (age > goodFor(current, this.#took) && !this.#reading) {
        this.#read(read).catch(() => {})
      }
      return current
    }
    return await turn.within(this.#reading ?? this.#read(read))
  }

  /**
   * The server has come back, or is another one.
   * @throws DirectoryError when it cannot be known; whoever needs it reads it then
   */
  async renew(read: () => Promise<Searchable>): Promise<void> {
    this.#isOfNow = false
    await this.#read(read)
  }

  #read(read: () => Promise<Searchable>): Promise<Searchable> {
    const startedAt = performance.now()
    const reading = read()
      .then((searchable) => {
        // One that was begun before the server was away says nothing of it now.
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

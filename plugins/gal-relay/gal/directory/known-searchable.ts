// What one server can be searched for, as it was found out last: read when it is first needed, again
// after the server was away, and now and then in the background.
import type { Searchable } from './searchable'
import type { Turn } from './turn'

/** Rights and schemas change seldom; where one is missing, somebody may be giving it. */
const GOOD_FOR = 5 * 60_000
const DOUBTFUL_FOR = 10_000

export class KnownSearchable {
  /** As it was read last, from whichever server stood there then. */
  current: Searchable | undefined
  #reading: Promise<Searchable> | undefined
  #readAt = 0
  /** Since when the server was up when it was read. */
  #upSince = 0

  /**
   * @param read asks the server
   * @throws DirectoryError when it cannot be known in time
   */
  async of(turn: Turn, read: () => Promise<Searchable>): Promise<Searchable> {
    const { current } = this
    const { since } = turn.server.health
    const goodFor = current?.doubts.length ? DOUBTFUL_FOR : GOOD_FOR
    if (current && this.#upSince === since) {
      // An old answer is better than none: nobody waits for the next.
      if (performance.now() - this.#readAt > goodFor) this.#read(since, read).catch(() => {})
      return current
    }
    return await turn.within(this.#read(since, read))
  }

  #read(since: number, read: () => Promise<Searchable>): Promise<Searchable> {
    this.#reading ??= read()
      .then((searchable) => {
        this.current = searchable
        this.#upSince = since
        return searchable
      })
      .finally(() => {
        this.#readAt = performance.now()
        this.#reading = undefined
      })
    return this.#reading
  }
}

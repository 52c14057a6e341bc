// Limits how many whole lists are read at a time. Five hundred at once would be a burden on the
// machine, and on a directory that holds many of them.
import { guard, later } from '../../guard'

const MOST = 4
/** Milliseconds after which a reading no longer counts: a slow directory must not block others. */
const COUNTS_FOR = 30_000

export class ReadingTurns {
  #free: number
  readonly #countsFor: number
  /** Each function gives a waiting reading its turn. */
  readonly #waiting = new Set<() => void>()

  constructor(most = MOST, countsFor = COUNTS_FOR) {
    this.#free = most
    this.#countsFor = countsFor
  }

  /**
   * Waits for a turn. Turns are given in the order of the calls.
   *
   * @returns a function that ends the turn
   * @throws whatever the signal is aborted with
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#given(signal)
    let isOver = false
    const end = () => {
      clearTimeout(timer)
      if (!isOver) this.#giveOn()
      isOver = true
    }
    const timer = later(this.#countsFor, 'turn of a reading that takes long', end, end)
    return end
  }

  #given(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(given)
        signal.removeEventListener('abort', abort)
      }
      const given = () => {
        leave()
        resolve()
      }
      const aborted = () => {
        leave()
        reject(signal.reason)
      }
      const abort = guard('end of the wait for a reading', aborted, aborted)
      this.#waiting.add(given)
      signal.addEventListener('abort', abort)
    })
  }

  #giveOn(): void {
    const [next] = this.#waiting
    if (next) next()
    else this.#free++
  }
}

// One server's turn to answer a question, on one of its connections and for a limited time.
import { later } from '../guard'
import type { Connection } from './connection'
import { DirectoryError, resultError, SIZE_LIMIT_EXCEEDED } from './directory-error'
import type { Result } from './search-result'
import type { Server } from './server'

/** @typeParam K what is known about the server */
export class Turn<K = unknown> {
  readonly startedAt = performance.now()
  readonly #endsAt: number

  /** @param timeout milliseconds for everything that is asked in this turn */
  constructor(
    readonly server: Server<K>,
    readonly connection: Connection,
    readonly timeout: number,
  ) {
    this.#endsAt = this.startedAt + timeout
  }

  /**
   * Sends all searches at once and returns their results, whatever these are.
   * @throws DirectoryError if a search has no result
   */
  search(searches: readonly Buffer[]): Promise<Result[]> {
    const left = Math.max(1, this.#endsAt - performance.now())
    return Promise.all(searches.map((one) => this.connection.search(one, left)))
  }

  /**
   * Waits for something asked elsewhere, or by several turns at once, while this turn has time.
   * @throws DirectoryError when the time is over, and whatever `asked` rejects with
   */
  async within<T>(asked: Promise<T>): Promise<T> {
    const left = Math.max(1, this.#endsAt - performance.now())
    let timer: NodeJS.Timeout | undefined
    const over = new Promise<never>((_resolve, reject) => {
      const error = new DirectoryError('timeout', `no answer in ${Math.round(this.timeout)} ms`)
      const expire = () => reject(error)
      timer = later(left, 'wait for what is asked elsewhere', expire, expire)
    })
    try {
      return await Promise.race([asked, over])
    } finally {
      clearTimeout(timer)
    }
  }
}

/** @throws DirectoryError unless all searches ended with success and nothing was left out */
export function requireSuccess(results: readonly Result[]): void {
  requireWhole(results)
  for (const { code, diagnostic, references } of results) {
    if (code !== 0) throw resultError(code, diagnostic, references)
  }
}

/** @throws DirectoryError if something was left out, which may be what was searched for */
export function requireWhole(results: readonly Result[]): void {
  for (const { leftOut } of results) if (leftOut) throw new DirectoryError('oversize', leftOut)
}

/** Whether the search ended for any reason other than its size limit. */
export function isNoLimit({ code }: Result): boolean {
  return code !== SIZE_LIMIT_EXCEEDED
}

/** Whether the entries of this result are reliable, even if more may be missing. */
export function hasEntries({ code, entries }: Result): boolean {
  return entries.length > 0 && (code === 0 || code === SIZE_LIMIT_EXCEEDED)
}

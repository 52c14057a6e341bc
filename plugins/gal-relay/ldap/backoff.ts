// How long to wait before the next attempt: twice as long each time, half of it random, so that
// many servers do not come back at the same moment. The library is loaded at the first failure.
import type { IBackoff } from 'cockatiel'

export class Backoff {
  readonly #initial: number
  readonly #most: number
  #current: IBackoff<unknown> | undefined

  /** Milliseconds: the first wait is from `initial` / 2 to `initial`, no wait exceeds `most`. */
  constructor(initial: number, most: number) {
    this.#initial = initial
    this.#most = most
  }

  /** Milliseconds to wait after the last failure; `undefined` if there was none. */
  get delay(): number | undefined {
    return this.#current?.duration
  }

  /** Records one more failure. */
  failed(): void {
    this.#current = (this.#current ?? this.#begin()).next(undefined)
  }

  /** Records a success: the next wait starts from `initial` again. */
  reset(): void {
    this.#current = undefined
  }

  #begin() {
    const { ExponentialBackoff, halfJitterGenerator } =
      require('cockatiel') as typeof import('cockatiel')
    return new ExponentialBackoff({
      generator: halfJitterGenerator,
      initialDelay: this.#initial,
      maxDelay: this.#most,
    })
  }
}

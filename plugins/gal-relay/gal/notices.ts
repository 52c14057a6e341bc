// Log messages that a list writes once, or once in a while, instead of for each recipient.
import { LRUCache } from 'lru-cache'
import type { Failure } from '../ldap/directory-error'
import type { Log } from '../log'

/** Milliseconds in which recipients deferred for the same kind of reason are logged only once. */
const DEFERRED_FOR = 60_000

export class Notices {
  readonly #log: Log
  // With `max`, each cache would allocate its full size at once.
  readonly #said = new LRUCache<string, true>({ maxSize: 1000, sizeCalculation: () => 1 })
  readonly #deferredAt = new Map<Failure, number>()

  constructor(log: Log) {
    this.#log = log
  }

  /** Logs the same text only once. */
  once(level: 'warn' | 'notice', text: string): void {
    if (this.#said.has(text)) return
    this.#said.set(text, true)
    this.#log[level](text)
  }

  deferred(failure: Failure, reason: string): void {
    const now = performance.now()
    if (now - (this.#deferredAt.get(failure) ?? Number.NEGATIVE_INFINITY) < DEFERRED_FOR) return
    this.#deferredAt.set(failure, now)
    this.#log.warn(`a recipient is deferred: ${reason}`)
  }
}

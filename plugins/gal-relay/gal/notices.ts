// What a list says in the log once, or once in a while, and not again with each recipient.
import { LRUCache } from 'lru-cache'
import type { Failure } from '../ldap/directory-error'
import type { Log } from '../log'

/** Recipients that are deferred for the same kind of reason are one line in so long a time. */
const DEFERRED_FOR = 60_000

export class Notices {
  readonly #log: Log
  // With `max` each would take the memory of a full one at once.
  readonly #said = new LRUCache<string, true>({ maxSize: 1000, sizeCalculation: () => 1 })
  readonly #deferredAt = new Map<Failure, number>()

  constructor(log: Log) {
    this.#log = log
  }

  /** Says the same text once. */
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

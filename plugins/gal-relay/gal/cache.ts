// Keeps answers for a while. Found and absent ones are kept apart, so that a harvester's endless
// guesses cannot push out the addresses that mail is really sent to. While no server can be asked, an
// address that was found before may still be accepted for some time; that one was absent is no reason
// to refuse it then, since it may have been made meanwhile.
import { LRUCache } from 'lru-cache'
import type { Recipient } from '../routing/recipient'
import type { GalSettings } from '../settings/settings'
import { recipientKey } from './address-key'
import type { AddressList, GalAnswer } from './address-list'

interface Kept {
  readonly answer: GalAnswer
  readonly freshUntil: number
  readonly usableUntil: number
  /** Until then it may be given without a thought: it is fresh, and its use does not count again. */
  quietUntil: number
}

/** Marking an address as used costs more than finding it; once in so many milliseconds is enough. */
const TOUCH = 60_000

/** What the cache did since it was made. */
export interface CacheReport {
  readonly found: number
  readonly absent: number
  readonly hits: number
  readonly misses: number
  /** Answers given after their time because no server could be asked. */
  readonly stale: number
}

export class CachedList implements AddressList {
  readonly #list: AddressList
  readonly #settings: GalSettings
  readonly #now: () => number
  /** By which all are found: it takes half the time of a look into each of the two lists. */
  readonly #kept = new Map<string, Kept>()
  /** Which to forget. */
  readonly #found: LRUCache<string, Kept>
  readonly #absent: LRUCache<string, Kept>
  readonly #underWay = new Map<string, Promise<GalAnswer>>()
  #hits = 0
  #misses = 0
  #stale = 0

  /** @param now milliseconds on a clock that never goes back */
  constructor(list: AddressList, settings: GalSettings, now = () => performance.now()) {
    this.#list = list
    this.#settings = settings
    this.#now = now
    const forget = (_kept: Kept, key: string, reason: LRUCache.DisposeReason) => {
      if (reason === 'evict') this.#kept.delete(key)
    }
    this.#found = new LRUCache({ max: settings.cache_size, dispose: forget })
    this.#absent = new LRUCache({ max: settings.cache_size, dispose: forget })
  }

  start(): void {
    this.#list.start()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const key = recipientKey(recipient)
    const kept = this.#kept.get(key)
    const now = this.#now()
    if (kept && now < kept.quietUntil) {
      this.#hits++
      return kept.answer
    }
    if (kept && now < kept.freshUntil) {
      this.#hits++
      this.#touch(key, kept, now)
      return kept.answer
    }
    return this.#underWay.get(key) ?? this.#ask(key, recipient)
  }

  close(): Promise<void> {
    return this.#list.close()
  }

  report(): CacheReport {
    return {
      found: this.#found.size,
      absent: this.#absent.size,
      hits: this.#hits,
      misses: this.#misses,
      stale: this.#stale,
    }
  }

  #ask(key: string, recipient: Recipient): Promise<GalAnswer> {
    this.#misses++
    const answer = this.#answered(key, recipient)
    this.#underWay.set(key, answer)
    return answer
  }

  async #answered(key: string, recipient: Recipient): Promise<GalAnswer> {
    const given = await this.#list.lookup(recipient)
    this.#underWay.delete(key)
    if (given.state !== 'unavailable') return this.#keep(key, given)
    const kept = this.#kept.get(key)
    if (kept?.answer.state !== 'found' || this.#now() >= kept.usableUntil) return given
    this.#stale++
    return kept.answer
  }

  #touch(key: string, kept: Kept, now: number): void {
    kept.quietUntil = Math.min(kept.freshUntil, whole(now + TOUCH))
    this.#found.get(key)
  }

  #keep(key: string, answer: GalAnswer): GalAnswer {
    const { cache_found, cache_absent, cache_stale } = this.#settings
    const now = whole(this.#now())
    const isFound = answer.state === 'found'
    const freshUntil = now + (isFound ? cache_found : cache_absent)
    const kept = {
      answer,
      freshUntil,
      usableUntil: freshUntil + (isFound ? cache_stale : 0),
      quietUntil: isFound ? Math.min(freshUntil, now + TOUCH) : freshUntil,
    }
    const [list, other] = isFound ? [this.#found, this.#absent] : [this.#absent, this.#found]
    this.#kept.set(key, kept)
    list.set(key, kept)
    other.delete(key)
    return answer
  }
}

/** Where there are thousands of answers, V8 finds a whole number in the object itself, a fraction elsewhere. */
const whole = Math.floor

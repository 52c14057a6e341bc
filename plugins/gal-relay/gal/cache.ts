// Caches answers for a while. Found and absent ones are kept apart, so that a harvester's endless
// guesses cannot push out the addresses that mail is really sent to. While no server can be asked,
// an address that was found before may still be accepted for some time; one that was absent is not
// refused then, because it may have been created meanwhile.
import { LRUCache } from 'lru-cache'
import type { Recipient } from '../routing/recipient'
import type { GalSettings } from '../settings/settings'
import { localKey, recipientKey, splitKey } from './address-key'
import {
  ABSENT,
  type AddressList,
  FOUND,
  FOUND_AUTHENTICATED,
  type GalAnswer,
} from './address-list'

interface CachedAnswer {
  readonly answer: GalAnswer
  readonly freshUntil: number
  readonly usableUntil: number
}

/** An address is marked as used at most once in this many milliseconds: marking costs more than finding. */
const TOUCH = 60_000

/** {@link QuickAnswers} keeps an answer's index here, and the second until which it is valid. */
const ANSWERS: readonly GalAnswer[] = [ABSENT, FOUND, FOUND_AUTHENTICATED]

/** What the cache holds, and what it has done since it was created. */
export interface CacheReport {
  readonly found: number
  readonly absent: number
  readonly hits: number
  readonly misses: number
  /** Expired answers that were given because no server could be asked. */
  readonly stale: number
}

export class CachedList implements AddressList {
  readonly #list: AddressList
  readonly #settings: GalSettings
  readonly #now: () => number
  // Answers nearly all look-ups. An answer is valid here for a minute at most, during which its use
  // is not recorded again. Integers, since an object for each would cost one more memory access,
  // mostly to cold memory.
  readonly #quick = new QuickAnswers()
  readonly #found: LRUCache<string, CachedAnswer>
  readonly #absent: LRUCache<string, CachedAnswer>
  readonly #underWay = new Map<string, Promise<GalAnswer>>()
  #hits = 0
  #misses = 0
  #stale = 0

  /** @param now milliseconds on a clock that never goes back */
  constructor(list: AddressList, settings: GalSettings, now = () => performance.now()) {
    this.#list = list
    this.#settings = settings
    this.#now = now
    const forget = (_answer: CachedAnswer, key: string, reason: LRUCache.DisposeReason) => {
      if (reason === 'evict') this.#quick.delete(key)
    }
    // With `max`, the cache would allocate its full size at once.
    const options = { maxSize: settings.cache_size, sizeCalculation: () => 1, dispose: forget }
    this.#found = new LRUCache(options)
    this.#absent = new LRUCache(options)
  }

  start(): void {
    this.#list.start()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const quick = this.#quick.get(recipient)
    const now = this.#now()
    if (quick !== undefined && now < (quick >> 2) * 1000) {
      this.#hits++
      return ANSWERS[quick & 3] as GalAnswer
    }
    const key = recipientKey(recipient)
    const cached = this.#found.get(key) ?? this.#absent.peek(key)
    if (cached && now < cached.freshUntil) {
      this.#hits++
      this.#quicken(key, cached, now)
      return cached.answer
    }
    return this.#underWay.get(key) ?? this.#ask(key, recipient)
  }

  close(): Promise<void> {
    return this.#list.close()
  }

  /**
   * Makes the directory answer the next look-up. A look-up under way is not used either, because it
   * may have begun before the change in the directory.
   *
   * @returns whether anything was known about the recipient
   */
  forget(recipient: Recipient): boolean {
    const key = recipientKey(recipient)
    const wasKnown = [
      this.#found.delete(key),
      this.#absent.delete(key),
      this.#underWay.delete(key),
    ].includes(true)
    this.#quick.delete(key)
    return wasKnown
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
    const answer: Promise<GalAnswer> = this.#answered(key, this.#list.lookup(recipient), () => {
      if (this.#underWay.get(key) !== answer) return false
      return this.#underWay.delete(key)
    })
    this.#underWay.set(key, answer)
    return answer
  }

  /** @param end marks the look-up as ended; returns `false` if it was forgotten meanwhile */
  async #answered(
    key: string,
    asked: GalAnswer | Promise<GalAnswer>,
    end: () => boolean,
  ): Promise<GalAnswer> {
    let given: GalAnswer
    let isForgotten = false
    try {
      given = await asked
    } finally {
      isForgotten = !end()
    }
    if (isForgotten) return given
    if (given.state !== 'unavailable') return this.#keep(key, given)
    const cached = this.#found.peek(key)
    if (!cached || this.#now() >= cached.usableUntil) return given
    this.#stale++
    return cached.answer
  }

  #keep(key: string, answer: GalAnswer): GalAnswer {
    const { cache_found, cache_absent, cache_stale } = this.#settings
    const now = this.#now()
    const isFound = answer.state === 'found'
    const freshUntil = now + (isFound ? cache_found : cache_absent)
    const cached = { answer, freshUntil, usableUntil: freshUntil + cache_stale }
    const [list, other] = isFound ? [this.#found, this.#absent] : [this.#absent, this.#found]
    list.set(key, cached)
    other.delete(key)
    this.#quicken(key, cached, now)
    return answer
  }

  #quicken(key: string, { answer, freshUntil }: CachedAnswer, now: number): void {
    if (answer.state === 'found' && answer.mailbox) {
      this.#quick.delete(key)
      return
    }
    const until = Math.floor(Math.min(freshUntil, now + TOUCH) / 1000)
    this.#quick.set(key, until * 4 + placeOf(answer))
  }
}

/** Answers by domain and local part: joining the two would take longer than the look-up. */
class QuickAnswers {
  readonly #domains = new Map<string, Map<string, number>>()

  get(recipient: Recipient): number | undefined {
    return this.#domains.get(recipient.domain)?.get(localKey(recipient))
  }

  /** @param key from {@link recipientKey} */
  set(key: string, answer: number): void {
    const { local, domain } = splitKey(key)
    const answers = this.#domains.get(domain)
    if (answers) answers.set(local, answer)
    else this.#domains.set(domain, new Map([[local, answer]]))
  }

  delete(key: string): void {
    const { local, domain } = splitKey(key)
    const answers = this.#domains.get(domain)
    answers?.delete(local)
    if (answers?.size === 0) this.#domains.delete(domain)
  }
}

function placeOf(answer: GalAnswer): number {
  return answer.state === 'found' ? (answer.authenticatedOnly ? 2 : 1) : 0
}

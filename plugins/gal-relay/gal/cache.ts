// Keeps answers for a while. Found and absent ones are kept apart, so that a harvester's endless
// guesses cannot push out the addresses that mail is really sent to. While no server can be asked, an
// address that was found before may still be accepted for some time; that one was absent is not a reason
// to refuse it then, since it may have been made meanwhile.
import { LRUCache } from 'lru-cache'
import type { Recipient } from '../routing/recipient'
import type { GalSettings } from '../settings/settings'
import { localKey, partsOf, recipientKey } from './address-key'
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

/** Marking an address as used costs more than finding it; once in so many milliseconds is enough. */
const TOUCH = 60_000

/** In {@link CachedList}'s first map an answer is its place here, and the second until which it holds. */
const ANSWERS: readonly GalAnswer[] = [ABSENT, FOUND, FOUND_AUTHENTICATED]

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
  // Nearly all are answered from here without a thought: for a minute at most an answer is fresh, and
  // its use does not count again. Integers: an object for each would be one more place in memory to go
  // to, mostly a cold one.
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
    // With `max` it would take the memory of a full cache at once.
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
   * The next one who asks is answered by the directory, and nobody by what was known before: not by a
   * look-up that is under way either, which may have begun before the change that is to be seen.
   *
   * @returns whether anything was known of the recipient
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

  /** @param end of being under way. @returns false when it was forgotten meanwhile */
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

/** By local part, for each domain: to put an address together takes longer than to find it. */
class QuickAnswers {
  readonly #domains = new Map<string, Map<string, number>>()

  get(recipient: Recipient): number | undefined {
    return this.#domains.get(recipient.domain)?.get(localKey(recipient))
  }

  /** @param key see {@link recipientKey} */
  set(key: string, answer: number): void {
    const { local, domain } = partsOf(key)
    const answers = this.#domains.get(domain)
    if (answers) answers.set(local, answer)
    else this.#domains.set(domain, new Map([[local, answer]]))
  }

  delete(key: string): void {
    const { local, domain } = partsOf(key)
    const answers = this.#domains.get(domain)
    answers?.delete(local)
    if (answers?.size === 0) this.#domains.delete(domain)
  }
}

function placeOf(answer: GalAnswer): number {
  return answer.state === 'found' ? (answer.authenticatedOnly ? 2 : 1) : 0
}

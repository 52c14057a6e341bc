// The networks that are held off, as this process knows them. It is checked for every connection and
// recipient, so it must not ask other processes.
import { LRUCache } from 'lru-cache'
import * as v from 'valibot'

/** A network that is held off. */
export interface Hold {
  /** In the form that is counted: `203.0.113.9`, `2001:db8::/64`. */
  readonly network: string
  /** On a listener that only observes, where nobody is really held off. */
  readonly observed: boolean
  /** Milliseconds since 1970. */
  readonly since: number
  readonly until: number
  /** What it had named within the window. */
  readonly unknown: number
  readonly all: number
  /** The server that found it out. */
  readonly server: string
}

/** What processes tell each other. */
export type HoldEvent =
  | { readonly event: 'hold'; readonly hold: Hold }
  | { readonly event: 'release'; readonly network: string }

const moment = v.pipe(v.number(), v.minValue(0), v.maxValue(8.64e15))
const network = v.pipe(v.string(), v.regex(/^[\da-f.:]{2,39}(\/\d{1,3})?$/))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const holdEvent = v.variant('event', [
  v.strictObject({
    event: v.literal('hold'),
    hold: v.strictObject({
      network,
      observed: v.boolean(),
      since: moment,
      until: moment,
      unknown: count,
      all: count,
      server: v.pipe(v.string(), v.maxLength(255)),
    }),
  }),
  v.strictObject({ event: v.literal('release'), network }),
])

/** @returns undefined if it is none */
export function readHoldEvent(value: unknown): HoldEvent | undefined {
  const { success, output } = v.safeParse(holdEvent, value)
  return success ? output : undefined
}

/** Observed networks are counted apart, because observing must not change any reply. */
export const keyOf = (network: string, observed: boolean) =>
  observed ? `observed ${network}` : network

/** The oldest one is dropped first. */
const MOST = 10_000

export class Holds {
  readonly #held = new LRUCache<string, Hold>({ max: MOST })
  /** When a network was last released. */
  readonly #released = new LRUCache<string, number>({ max: MOST })

  /** @param now milliseconds since 1970 */
  find(key: string, now: number): Hold | undefined {
    const hold = this.#held.peek(key)
    if (!hold || hold.until > now) return hold
    this.#held.delete(key)
    return undefined
  }

  put(hold: Hold): void {
    this.#held.set(keyOf(hold.network, hold.observed), hold)
  }

  /**
   * Takes events in any order: a network that was released stays released, even if an older hold arrives later.
   * @param at when it was held off or released, by the clock that all share
   */
  take(event: HoldEvent, at: number): void {
    if (event.event === 'hold') {
      if (at > (this.#released.get(event.hold.network) ?? 0)) this.put(event.hold)
      return
    }
    this.#released.set(event.network, at)
    for (const observed of [false, true]) this.#held.delete(keyOf(event.network, observed))
  }

  /** The newest first. */
  all(now: number): Hold[] {
    const held = [...this.#held.values()].filter(({ until }) => until > now)
    return held.sort((a, b) => b.since - a.since)
  }

  count(now: number): number {
    let count = 0
    for (const { until, observed } of this.#held.values()) if (until > now && !observed) count++
    return count
  }
}

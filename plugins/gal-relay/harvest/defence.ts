// Harvest defence: a client that tries one made-up name after another, to see which exist, gets slower and
// slower replies and is then held off for a while (Q304897 names harvesting as a reason not to look recipients
// up at all). This file answers no mail; it decides how long replies wait and which networks are held off.
import { LRUCache } from 'lru-cache'
import { later, unattended } from '../guard'
import type { Log } from '../log'
import { type IpAddress, parseIp } from '../routing/networks'
import type { HarvestSettings } from '../settings/settings'
import type { Count, Counters, Recipients } from './counters'
import { type Hold, type HoldEvent, type Holds, keyOf } from './holds'
import { networkOf } from './network'

type Limits = Pick<
  HarvestSettings,
  'unknown_limit' | 'unknown_share' | 'window' | 'hold_off' | 'slow_down' | 'network' | 'exempt'
>

/** How a connection is counted. */
export interface Counted {
  readonly network: string
  /** The listener only observes: recipients are counted, without consequences. */
  readonly observed: boolean
  readonly key: string
}

/** Counts since the process started, and the networks that are held off. */
export interface DefenceReport {
  readonly counted: { readonly unknown: number; readonly held: number; readonly slowed: number }
  readonly deferred: { readonly connect: number; readonly rcpt: number }
  /** Number of networks that are held off. */
  readonly heldNow: number
  /** The newest ones. */
  readonly holds: readonly Hold[]
}

/** What this process has counted for a network and not passed on yet. */
interface Waiting {
  /** Recipients since the last unknown one. */
  others: number
  /** What other processes should know but cannot be told now. */
  owed: Recipients
  /** When the first of it arrived. */
  since: number
  known: Known | undefined
}

/** The count of a network when it was last passed on, plus what has come since. */
interface Known {
  unknown: number
  all: number
  /** The part that has not been passed on. */
  news: { unknown: number; others: number }
  /** When the count starts again. */
  readonly until: number
}

/** Milliseconds by which a reply is delayed, or that the client has been held off meanwhile. */
export type Delay = number | 'held off'

const NOTHING: Recipients = { unknown: 0, others: 0 }

/** Networks whose counts are kept here before they are passed on. */
const NETWORKS = 20_000
/**
 * Counts are passed on with the next unknown recipient, or in the background once they reach this number (for
 * a busy network, one percent of its count), because the unknown ones may all arrive at another process.
 */
const HANDED_ON = 50
/** Unknown recipients are passed on in the same way while this multiple of them would be no harvest. */
const FAR = 8
/** Delayed replies at a time in one process; any more are sent at once. */
const DELAYED = 1000
/** Holds in a report. */
const REPORTED = 100

export class HarvestDefence {
  readonly #limits: Limits
  readonly #counters: Counters
  readonly #holds: Holds
  readonly #server: string
  readonly #log: Log
  readonly #tell: (event: HoldEvent) => void
  readonly #waiting: LRUCache<string, Waiting>
  readonly #count = { unknown: 0, held: 0, slowed: 0 }
  readonly #deferred = { connect: 0, rcpt: 0 }
  #delayed = 0

  /**
   * @param server the name of this one
   * @param tell sends what this process found out to all others
   */
  constructor(
    limits: Limits,
    counters: Counters,
    holds: Holds,
    server: string,
    log: Log,
    tell: (event: HoldEvent) => void,
  ) {
    this.#limits = limits
    this.#counters = counters
    this.#holds = holds
    this.#server = server
    this.#log = log
    this.#tell = tell
    this.#waiting = new LRUCache({
      max: NETWORKS,
      dispose: (_, key, reason) => {
        if (reason === 'evict') unattended('count of a network given up', () => counters.drop(key))
      },
    })
  }

  /** @returns undefined for clients that are never counted */
  counted(ip: IpAddress | undefined, observed: boolean): Counted | undefined {
    if (!ip || this.#limits.exempt.has(ip)) return undefined
    const network = networkOf(ip, this.#limits.network)
    return { network, observed, key: keyOf(network, observed) }
  }

  /** @param at the command at which the client is told */
  isHeldOff({ key, observed }: Counted, at: 'connect' | 'rcpt'): boolean {
    if (observed || !this.#holds.find(key, Date.now())) return false
    this.#deferred[at]++
    return true
  }

  /** A recipient that is accepted, or refused for another reason. */
  other({ key }: Counted): void {
    const waiting = this.#waitingFor(key)
    if (++waiting.others >= handedOnAt(waiting.known)) this.#handOn(key, waiting)
  }

  /** An unknown recipient. */
  unknown(counted: Counted): Delay | Promise<Delay> {
    const { key, observed } = counted
    this.#count.unknown++
    const now = Date.now()
    if (this.#holds.find(key, now)) return observed ? 0 : 'held off'
    const waiting = this.#waitingFor(key)
    const { known } = waiting
    if (!known || !isFar(known, this.#limits)) return this.#judged(counted, waiting)
    const { news } = known
    known.unknown++
    known.all += waiting.others + 1
    news.unknown++
    news.others += waiting.others
    waiting.others = 0
    if (news.unknown + news.others >= handedOnAt(known)) this.#handOn(key, waiting)
    return observed ? 0 : delayOf(known.unknown, this.#limits)
  }

  /** An unknown recipient that may be the last one to be answered. */
  async #judged(counted: Counted, waiting: Waiting): Promise<Delay> {
    const { key, network, observed } = counted
    const heldOff = observed ? 0 : 'held off'
    const count = await this.#add(key, waiting, 1)
    const now = Date.now()
    if (count.heldFor !== undefined) {
      const until = now + count.heldFor
      // The process that found it out logs the details.
      if (!this.#holds.find(key, now)) {
        const unsaid = { unknown: 0, all: 0, server: '' }
        this.#holds.put({ network, observed, since: now, until, ...unsaid })
      }
      return heldOff
    }
    // Another recipient of the same network may have been counted at the same time.
    if (this.#holds.find(key, now)) return heldOff
    if (isHarvest(count, this.#limits)) {
      await this.#hold(counted, count, now)
      // Another process has already answered the last recipient that was allowed.
      if (count.unknown > this.#limits.unknown_limit) return heldOff
    }
    return observed ? 0 : delayOf(count.unknown, this.#limits)
  }

  /** Waits, unless too many replies are waiting already. */
  async delay(milliseconds: number): Promise<void> {
    if (milliseconds <= 0 || this.#delayed >= DELAYED) return
    this.#delayed++
    this.#count.slowed++
    try {
      await new Promise<void>((resolve) => {
        later(milliseconds, 'answer that is given later', resolve, () => resolve()).unref()
      })
    } finally {
      this.#delayed--
    }
  }

  /**
   * Takes what another process or the gal-relay command says.
   * @param at when it was found out or let go (holds.ts)
   */
  async take(event: HoldEvent, at: number, isNews = true): Promise<void> {
    this.#holds.take(event, at)
    if (event.event !== 'release' || !isNews) return
    for (const observed of [false, true]) {
      const key = keyOf(event.network, observed)
      this.#waiting.delete(key)
      await this.#counters.reset(key)
    }
  }

  report(): DefenceReport {
    const now = Date.now()
    return {
      counted: { ...this.#count },
      deferred: { ...this.#deferred },
      heldNow: this.#holds.count(now),
      holds: this.#holds.all(now).slice(0, REPORTED),
    }
  }

  #waitingFor(key: string): Waiting {
    const now = Date.now()
    const known = this.#waiting.get(key)
    if (!known) {
      const waiting = { others: 0, owed: NOTHING, since: now, known: undefined }
      this.#waiting.set(key, waiting)
      return waiting
    }
    const isEmpty = known.others === 0 && known.owed === NOTHING
    if (isEmpty || Math.abs(now - known.since) > this.#limits.window) {
      known.others = 0
      known.owed = NOTHING
      known.since = now
    }
    if (known.known && now >= known.known.until) known.known = undefined
    return known
  }

  #handOn(key: string, waiting: Waiting): void {
    unattended('count of a network', () => this.#add(key, waiting, 0))
  }

  async #add(key: string, waiting: Waiting, unknown: number): Promise<Count> {
    const { owed, known } = waiting
    const before = known?.news ?? NOTHING
    const news = {
      unknown: before.unknown + unknown,
      others: before.others + waiting.others,
    }
    waiting.others = 0
    waiting.owed = NOTHING
    if (known) known.news = { unknown: 0, others: 0 }
    const { count, isShared } = await this.#counters.add(key, news, owed)
    if (!isShared) {
      // More may have come meanwhile.
      const { owed: more } = waiting
      waiting.owed = {
        unknown: more.unknown + owed.unknown + news.unknown,
        others: more.others + owed.others + news.others,
      }
    }
    waiting.known = knownFrom(count, waiting.known)
    return count
  }

  async #hold(counted: Counted, { unknown, all }: Count, now: number): Promise<void> {
    const { network, observed, key } = counted
    const { hold_off, window } = this.#limits
    const until = now + hold_off
    const hold = { network, observed, since: now, until, unknown, all, server: this.#server }
    this.#holds.put(hold)
    this.#count.held++
    const what = observed ? 'would be held off' : 'held off'
    this.#log.notice(
      `${what}: ${network} for ${duration(hold_off)}: ${unknown} of ${all} recipients within ` +
        `${duration(window)} were unknown`,
    )
    this.#tell({ event: 'hold', hold })
    await this.#counters.hold(key, hold_off)
  }
}

/** @param before what has come while it was passed on */
function knownFrom(
  { unknown, all, heldFor, endsIn }: Count,
  before: Known | undefined,
): Known | undefined {
  if (heldFor !== undefined) return undefined
  const news = before?.news ?? { unknown: 0, others: 0 }
  const until = Date.now() + endsIn
  return {
    unknown: unknown + news.unknown,
    all: all + news.unknown + news.others,
    news,
    until,
  }
}

/** Number of a network's recipients that are passed on at a time. */
function handedOnAt(known: Known | undefined): number {
  return HANDED_ON * Math.max(1, Math.floor((known?.all ?? 0) / (100 * HANDED_ON)))
}

function isFar(known: Known, limits: Limits): boolean {
  const more = FAR * handedOnAt(known)
  return !isHarvest({ unknown: known.unknown + more, all: known.all + more }, limits)
}

/** Whether there are too many unknown recipients, and too large a share of them. */
export function isHarvest(
  { unknown, all }: Pick<Count, 'unknown' | 'all'>,
  { unknown_limit, unknown_share }: Pick<Limits, 'unknown_limit' | 'unknown_share'>,
): boolean {
  // In percent, as in the settings: 7 of 100 is 7 %.
  return unknown >= unknown_limit && unknown * 100 >= Math.round(unknown_share * 100) * all
}

/** Grows evenly from the first unknown recipient beyond a third of the limit to the limit. */
export function delayOf(
  unknown: number,
  { unknown_limit, slow_down }: Pick<Limits, 'unknown_limit' | 'slow_down'>,
): number {
  const third = Math.floor(unknown_limit / 3)
  if (unknown <= third) return 0
  const { least, most } = slow_down
  const grown = Math.min(1, (unknown - third) / (unknown_limit - third))
  return Math.round(least + (most - least) * grown)
}

/** The network that a text names, directly or by an address in it; undefined if it is neither. */
export function networkNamed(text: string, bits: Limits['network']): string | undefined {
  const [address = '', given] = text.split('/')
  const ip = parseIp(address)
  if (!ip || (given !== undefined && !/^\d{1,3}$/.test(given))) return undefined
  const network = networkOf(ip, bits)
  return given === undefined || network === text || network.endsWith(`/${given}`)
    ? network
    : undefined
}

/** In the form of the settings: `30m`. */
export function duration(milliseconds: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const
  const [unit, length] = units.find(([, length]) => milliseconds % length === 0) ?? ['ms', 1]
  return `${milliseconds / length}${unit}`
}

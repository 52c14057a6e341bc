// Harvest defence: a client that asks for one made-up name after the other, to see which exist, is
// answered ever later, and then held off for a while (Q304897 names harvesting as a reason not to look
// recipients up at all). Nothing here answers mail: it says how long an answer is to wait, and who is held
// off.
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

/** Whom a connection is counted as. */
export interface Counted {
  readonly network: string
  /** Recipients are only observed there: counted, without any consequence. */
  readonly observed: boolean
  readonly key: string
}

/** What has been counted since the process started, and who is held off. */
export interface DefenceReport {
  readonly counted: { readonly unknown: number; readonly held: number; readonly slowed: number }
  readonly deferred: { readonly connect: number; readonly rcpt: number }
  /** How many networks are held off. */
  readonly heldNow: number
  /** The newest of them. */
  readonly holds: readonly Hold[]
}

/** What has been counted of a network here, and not been handed on yet. */
interface Waiting {
  /** Recipients since the last unknown one. */
  others: number
  /** What the other processes should know, and cannot be told now. */
  owed: Recipients
  /** When the first of it came. */
  since: number
  known: Known | undefined
}

/** The count of a network as it was handed on last, with what has come since. */
interface Known {
  unknown: number
  all: number
  /** What of it has not been handed on. */
  news: { unknown: number; others: number }
  /** When the count begins anew. */
  readonly until: number
}

/** How many milliseconds later a recipient is answered, or that its client has been held off meanwhile. */
export type Delay = number | 'held off'

const NOTHING: Recipients = { unknown: 0, others: 0 }

/** Networks whose recipients are counted here before they are handed on. */
const NETWORKS = 20_000
/**
 * They are handed on with the next unknown recipient; so many at the latest, or one in a hundred of a busy
 * network's, without anybody waiting for it, since the unknown ones may all come to another process.
 */
const HANDED_ON = 50
/** While so many times that of unknown recipients would not be a harvest, they are handed on in the same way. */
const FAR = 8
/** Answers that wait at a time, in one process; more are given at once. */
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
   * @param tell hands what this process found out to all others
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

  /** @returns undefined for who is never counted */
  counted(ip: IpAddress | undefined, observed: boolean): Counted | undefined {
    if (!ip || this.#limits.exempt.has(ip)) return undefined
    const network = networkOf(ip, this.#limits.network)
    return { network, observed, key: keyOf(network, observed) }
  }

  /** @param at where the client is told */
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

  /** One that may be the last which is answered. */
  async #judged(counted: Counted, waiting: Waiting): Promise<Delay> {
    const { key, network, observed } = counted
    const heldOff = observed ? 0 : 'held off'
    const count = await this.#add(key, waiting, 1)
    const now = Date.now()
    if (count.heldFor !== undefined) {
      const until = now + count.heldFor
      // Whoever found it out tells more of it.
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
      // Another process has answered the last one that was to be.
      if (count.unknown > this.#limits.unknown_limit) return heldOff
    }
    return observed ? 0 : delayOf(count.unknown, this.#limits)
  }

  /** Waits, unless too many answers do already. */
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
   * What another process, or the command, says.
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
      // More of it may have come meanwhile.
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

/** @param before what more has come while it was handed on */
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

/** How many recipients of a network are handed on at a time. */
function handedOnAt(known: Known | undefined): number {
  return HANDED_ON * Math.max(1, Math.floor((known?.all ?? 0) / (100 * HANDED_ON)))
}

function isFar(known: Known, limits: Limits): boolean {
  const more = FAR * handedOnAt(known)
  return !isHarvest({ unknown: known.unknown + more, all: known.all + more }, limits)
}

/** So many unknown recipients, and so large a share. */
export function isHarvest(
  { unknown, all }: Pick<Count, 'unknown' | 'all'>,
  { unknown_limit, unknown_share }: Pick<Limits, 'unknown_limit' | 'unknown_share'>,
): boolean {
  // In percent, as it is written: 7 of 100 are 7 %.
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

/** The network that somebody names by it or by an address in it; undefined for what is neither. */
export function networkNamed(text: string, bits: Limits['network']): string | undefined {
  const [address = '', given] = text.split('/')
  const ip = parseIp(address)
  if (!ip || (given !== undefined && !/^\d{1,3}$/.test(given))) return undefined
  const network = networkOf(ip, bits)
  return given === undefined || network === text || network.endsWith(`/${given}`)
    ? network
    : undefined
}

/** As it is written in the settings: `30m`. */
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

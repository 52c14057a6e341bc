// Harvest defence in one process with the current settings: alone, with other workers, or with other servers.
import type { RedisLink, RedisReport } from '../fleet/redis'
import { unattended } from '../guard'
import type { Log } from '../log'
import type { HarvestSettings, RedisSettings } from '../settings/settings'
import { Counters } from './counters'
import { type DefenceReport, HarvestDefence } from './defence'
import { type Hold, type HoldEvent, Holds, readHoldEvent } from './holds'
import type { SharedHolds } from './shared-holds'

/** The other processes of this server. */
interface Processes {
  handle(command: string, handler: (request: unknown) => unknown): void
  tellOthers(command: string, request: unknown): void
}

/** The role of a process: the whole server, one of its workers, or the master. */
export type Role = 'only' | 'worker' | 'master'

interface Settings {
  readonly harvest: HarvestSettings
  readonly redis: RedisSettings | undefined
}

export interface HarvestReport extends DefenceReport {
  /** undefined if the server shares nothing with others */
  readonly redis: RedisReport | undefined
}

/** Messages between the processes of a server. */
const EVENT = 'harvest event'
const STARTED = 'harvest worker started'
/** Requests of the gal-relay command. */
export const LIST = 'harvest list'
export const RELEASE = 'harvest release'

const limiters = () => require('./limiters') as typeof import('./limiters')
const redis = () => require('../fleet/redis') as typeof import('../fleet/redis')
const sharedHolds = () => require('./shared-holds') as typeof import('./shared-holds')

/** Loads the modules that the settings need, before Haraka drops its privileges. */
export function loadHarvest(settings: Settings): void {
  if (!settings.harvest.enabled) return
  limiters()
  if (settings.redis) redis()
}

export class Harvest {
  readonly #role: Role
  readonly #processes: Processes
  readonly #server: string
  readonly #log: Log
  readonly #holds = new Holds()
  /** By window, so that counts survive a reload. */
  readonly #own = new Map<number, ReturnType<ReturnType<typeof limiters>['ownLimiter']>>()
  readonly #ofServer = new Map<number, ReturnType<ReturnType<typeof limiters>['countOfServer']>>()
  #state = ''
  #defence: HarvestDefence | undefined
  #link: RedisLink | undefined
  #shared: SharedHolds | undefined

  /** @param server the name of this one */
  constructor(role: Role, processes: Processes, server: string, log: Log) {
    this.#role = role
    this.#processes = processes
    this.#server = server
    this.#log = log
    processes.handle(EVENT, (event) => this.#takeEvent(event))
    processes.handle(LIST, () => this.#holds.all(Date.now()))
    processes.handle(RELEASE, (request) => this.#release(request))
    // The master knows which networks are held off, and tells the others once more.
    processes.handle(STARTED, () => {
      const holds = this.#role === 'master' ? this.#holds.all(Date.now()) : []
      for (const hold of holds) processes.tellOthers(EVENT, { event: 'hold', hold })
    })
  }

  /** undefined in the master, and while the defence is off */
  get defence(): HarvestDefence | undefined {
    return this.#defence
  }

  /** Applies new settings; counts and holds are kept. */
  apply(settings: Settings): void {
    const state = stateOf(settings)
    if (state === this.#state) return
    this.#state = state
    this.#end()
    const { harvest } = settings
    if (!harvest.enabled) return
    if (this.#role === 'master') {
      if (!settings.redis) limiters().countForWorkers()
      return
    }
    if (settings.redis) this.#link = new (redis().RedisLink)(settings.redis, this.#log)
    this.#defence = new HarvestDefence(
      harvest,
      this.#countersFor(harvest.window),
      this.#holds,
      this.#server,
      this.#log,
      (event) => this.#tell(event),
    )
    const { defence } = this
    if (this.#link && defence) {
      this.#shared = sharedHolds().shareHolds(
        this.#link,
        harvest.hold_off,
        ({ event, at }, isNews) => defence.take(event, at, isNews),
      )
    }
    if (this.#role === 'worker') this.#processes.tellOthers(STARTED, {})
  }

  report(): HarvestReport | undefined {
    const report = this.#defence?.report()
    return report && { ...report, redis: this.#link?.report() }
  }

  close(): void {
    this.#end()
  }

  #countersFor(window: number): Counters {
    const own = this.#own.get(window) ?? limiters().ownLimiter(window)
    this.#own.set(window, own)
    if (this.#link) return new Counters(own, limiters().countOfFleet(this.#link, window))
    if (this.#role === 'only') return new Counters(own)
    const ofServer = this.#ofServer.get(window) ?? limiters().countOfServer(window)
    this.#ofServer.set(window, ofServer)
    return new Counters(own, ofServer)
  }

  #end(): void {
    this.#shared?.close()
    const link = this.#link
    const close = () => link?.close()
    if (link) unattended('end of the connection to Redis', close, close)
    this.#shared = undefined
    this.#link = undefined
    this.#defence = undefined
  }

  #tell(event: HoldEvent): void {
    if (this.#shared) this.#shared.tell(event)
    else this.#processes.tellOthers(EVENT, event)
  }

  async #takeEvent(given: unknown): Promise<void> {
    const event = readHoldEvent(given)
    if (!event) return
    // All processes of a server share one clock.
    const at = event.event === 'hold' ? event.hold.since : Date.now()
    if (this.#defence) await this.#defence.take(event, at)
    else this.#holds.take(event, at)
  }

  /** @returns whether the network was held off, as far as this process knows */
  async #release(request: unknown): Promise<boolean> {
    const event = readHoldEvent({ event: 'release', network: request })
    if (event?.event !== 'release') return false
    const now = Date.now()
    const { network } = event
    const wasHeld = this.#holds.all(now).some((hold) => hold.network === network)
    await this.#takeEvent(event)
    if (wasHeld) this.#tell(event)
    return wasHeld
  }
}

/** The same for as long as nothing changes. */
function stateOf({ harvest, redis }: Settings): string {
  const { exempt, ...others } = harvest
  return JSON.stringify([others, exempt.entries.map(({ text }) => text), redis])
}

/** Merges the views of several processes, newest first. */
export function heldTogether(lists: readonly (readonly Hold[])[]): Hold[] {
  const held = new Map<string, Hold>()
  for (const hold of lists.flat()) {
    const key = `${hold.observed} ${hold.network}`
    const known = held.get(key)
    // The process that found it out knows what the network had named.
    if (!known || (known.all === 0 && hold.all > 0)) held.set(key, hold)
  }
  return [...held.values()].sort((a, b) => b.since - a.since)
}

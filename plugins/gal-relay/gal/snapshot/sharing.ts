// A published list. Of several servers, the one that holds a lock in Redis (fleet/redis-lock.ts)
// reads the directory and publishes the list. The others receive it, or wait if they only publish.
import { FileSink } from '../../fleet/file-carrier'
import { clientFor, endClient, type RedisClient } from '../../fleet/redis'
import { LockLost, RedisSink } from '../../fleet/redis-carrier'
import {
  holderOf,
  LOCK_HELD,
  LOCK_PROLONGED,
  LOCK_READS,
  LOCK_TRIED,
  RedisLock,
} from '../../fleet/redis-lock'
import { guard, unattended } from '../../guard'
import type { Log } from '../../log'
import { carrierText, type ListChannel } from '../../settings/list-channel'
import type { RedisSettings } from '../../settings/redis'
import { interruptible, whenAborted } from '../feeds/change-feed'
import { ListReader } from './list-reader'
import type { ListSettings } from './list-settings'
import { Publisher } from './publisher'
import { type Lease, onMachine } from './reading-lease'
import { Receiver } from './receiver'
import type { SyncReport } from './syncer'

const WAITING: SyncReport = {
  ...{ state: 'waiting', server: '', feed: 'none', entries: 0 },
  ...{ readAt: undefined, readFor: undefined, lastError: undefined, lastErrorAt: undefined },
}

/** How long to wait while there is no connection, milliseconds. */
const RECONNECTED = 500
/**
 * After this many milliseconds without reading or following the directory, another server may have
 * more luck.
 */
const STUCK_AFTER = 20_000
const STUCK = 'its directory does not answer, and another one may try'
const ENOUGH = new Error('no longer wanted')
const FOR_EVER: Lease = () => Number.POSITIVE_INFINITY

/** The lock, and when it was last certain to be ours. */
interface Held {
  since: number
}

export class Sharing {
  readonly #settings: ListSettings
  readonly #channel: ListChannel
  readonly #log: Log
  #report: (() => SyncReport | undefined) | undefined
  #said = ''

  constructor(settings: ListSettings, channel: ListChannel, log: Log) {
    this.#settings = settings
    this.#channel = channel
    this.#log = log
  }

  report(): SyncReport {
    return this.#report?.() ?? WAITING
  }

  /** Runs until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { carrier } = this.#channel
    while (!signal.aborted) {
      try {
        if ('file' in carrier) await this.#toFile(carrier.file, signal)
        else await this.#byTurns(carrier.redis, signal)
      } catch (error) {
        if (!signal.aborted) this.#once('error', cannotBe(this.#channel, error))
      }
      await pause(LOCK_TRIED, signal)
    }
  }

  async #toFile(file: string, signal: AbortSignal): Promise<void> {
    const sink = await FileSink.open(file)
    try {
      await this.#lead(sink, FOR_EVER, signal)
    } finally {
      await sink.close()
    }
  }

  async #byTurns(redis: RedisSettings, signal: AbortSignal): Promise<void> {
    const { list, role } = this.#channel
    const lock = new RedisLock(redis.prefix, list)
    const told = (error: unknown) => this.#once('warn', cannotBe(this.#channel, error))
    const client = await clientFor(redis, told)
    const end = () => endClient(client)
    const connecting = new AbortController()
    const fail = (error: unknown) => connecting.abort(error)
    unattended('connection to Redis for a list', () => client.connect(), fail)
    const redisSignal = connecting.signal
    try {
      const heldSince =
        role === 'share'
          ? await this.#receiveUntilOurs(client, lock, redisSignal, signal)
          : await this.#untilOurs(client, lock, redisSignal, signal)
      if (signal.aborted) return
      this.#said = ''
      const where = carrierText(this.#channel)
      this.#log.notice(`this server reads the list ${list} and publishes it to ${where}`)
      const leading = new AbortController()
      const held: Held = { since: heldSince }
      const lease = () => onMachine(held.since + LOCK_READS)
      const sink = new RedisSink(client, redis.prefix, list, lock.token)
      const lead = this.#lead(sink, lease, leading.signal)
      const leave = () => leading.abort(ENOUGH)
      const stop = whenAborted(signal, guard('end of publishing a list', leave, leave))
      const whyNot = await Promise.race([this.#prolong(client, lock, held, leading.signal), lead])
      stop()
      leading.abort(ENOUGH)
      // Do not wait long for a Redis that does not answer.
      if (signal.aborted || whyNot === STUCK) await soonOrNever(lock.release(client))
      end()
      await lead
      if (signal.aborted) return
      this.#once('warn', `this server does not read the list ${list} any more: ${whyNot}`)
      if (whyNot === STUCK) await pause(2 * LOCK_TRIED, signal)
    } finally {
      end()
    }
  }

  /**
   * @param failed aborted, with the reason, if there will be no connection
   * @returns since when the lock is ours; after the signal, it need not be ours
   * @throws that reason
   */
  async #untilOurs(
    client: RedisClient,
    lock: RedisLock,
    failed: AbortSignal,
    signal: AbortSignal,
  ): Promise<number> {
    for (;;) {
      failed.throwIfAborted()
      const askedAt = performance.now()
      const holder = client.isReady ? await lock.take(client).catch(() => '') : ''
      if (holder === true || signal.aborted) return askedAt
      if (holder) {
        await lock.wait(client).catch(() => {})
        const text = `${holderOf(holder)} reads the list ${this.#channel.list} and publishes it`
        this.#once('notice', text)
      }
      await pause(client.isReady ? LOCK_TRIED : RECONNECTED, signal)
    }
  }

  /** Does the same, and meanwhile receives the list that another server publishes. */
  async #receiveUntilOurs(
    client: RedisClient,
    lock: RedisLock,
    failed: AbortSignal,
    signal: AbortSignal,
  ): Promise<number> {
    const receiving = new AbortController()
    const leave = () => receiving.abort(ENOUGH)
    const stop = whenAborted(signal, guard('end of receiving a shared list', leave, leave))
    const receiver = new Receiver(this.#settings, this.#channel, this.#log)
    this.#report = () => receiver.report()
    const ended = receiver.run(receiving.signal)
    try {
      return await this.#untilOurs(client, lock, failed, signal)
    } finally {
      stop()
      receiving.abort(ENOUGH)
      await ended
      this.#report = undefined
    }
  }

  /** @returns why this server no longer reads the list; '' after the signal */
  async #prolong(
    client: RedisClient,
    lock: RedisLock,
    held: Held,
    signal: AbortSignal,
  ): Promise<string> {
    let readAt = performance.now()
    for (let wait = 0; ; ) {
      await pause(wait, signal)
      if (signal.aborted) return ''
      const askedAt = performance.now()
      const prolonged = lock.prolong(client).catch(() => undefined)
      const late = pause(Math.max(0, held.since + LOCK_HELD - askedAt), signal)
      const isOurs = client.isReady ? await Promise.race([prolonged, late]) : undefined
      if (isOurs === false) return 'another one may'
      if (isOurs) held.since = askedAt
      wait = isOurs ? LOCK_PROLONGED : RECONNECTED
      if (performance.now() - held.since >= LOCK_HELD) return 'Redis does not answer'
      if (this.report().state !== 'waiting') readAt = askedAt
      if (askedAt - readAt < STUCK_AFTER) continue
      if (await lock.isWaitedFor(client).catch(() => false)) return STUCK
    }
  }

  /**
   * Reads the directory and publishes the list, until the signal or until another server does.
   * @returns why it stopped; '' after the signal
   */
  async #lead(sink: FileSink | RedisSink, lease: Lease, signal: AbortSignal): Promise<string> {
    const { snapshot } = this.#settings
    const { channel: _, ...own } = snapshot
    const reader = new ListReader({ ...this.#settings, snapshot: own }, this.#log, lease)
    this.#report = () => reader.report
    const readSince = Date.now()
    const options = { snapshot, channel: this.#channel, sink, readSince, log: this.#log }
    // At once: when this ends, another server may be about to begin.
    const leave = () => reader.close()
    const stop = whenAborted(signal, guard('end of reading a list', leave, leave))
    reader.start()
    try {
      await new Publisher(options).run(signal)
      return ''
    } catch (error) {
      if (!(error instanceof LockLost)) throw error
      return error.message
    } finally {
      stop()
      reader.close()
      this.#report = undefined
    }
  }

  #once(level: keyof Log, text: string): void {
    if (text !== this.#said) this.#log[level](text)
    this.#said = text
  }
}

function cannotBe(channel: ListChannel, error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error)
  const what = channel.role === 'share' ? 'shared' : 'published'
  return `the list ${channel.list} cannot be ${what} by ${carrierText(channel)}: ${reason}`
}

/** Never rejects, not even at the signal. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<undefined> {
  await interruptible(milliseconds, signal).catch(() => {})
}

async function soonOrNever(work: Promise<void>): Promise<void> {
  const patience = pause(RECONNECTED, new AbortController().signal)
  await Promise.race([work.catch(() => {}), patience])
}

// Reads the directory once and publishes the list right away: for lists that are published now and
// then, such as by cron.
import type { ListSink } from '../../fleet/carrier'
import { FileSink } from '../../fleet/file-carrier'
import { endClient } from '../../fleet/redis'
import { connectOnce, RedisSink } from '../../fleet/redis-carrier'
import { holderOf, LOCK_LASTS, LOCK_PROLONGED, RedisLock } from '../../fleet/redis-lock'
import { every } from '../../guard'
import type { ListChannel } from '../../settings/list-channel'
import type { RedisSettings } from '../../settings/redis'
import { interruptible } from '../feeds/change-feed'
import type { ListSettings } from './list-settings'
import { Publisher } from './publisher'
import { type SyncOptions, type SyncResult, syncOnce } from './sync-once'

/**
 * @throws Refused, Error if no list is read, or it cannot be published
 */
export async function publishOnce(
  settings: ListSettings,
  channel: ListChannel,
  options: SyncOptions,
): Promise<SyncResult> {
  const { carrier } = channel
  if ('redis' in carrier) return publishToRedis(settings, channel, carrier.redis, options)
  const sink = await FileSink.open(carrier.file)
  try {
    return await readAndHandOn(settings, channel, sink, options)
  } finally {
    await sink.close()
  }
}

async function publishToRedis(
  settings: ListSettings,
  channel: ListChannel,
  redis: RedisSettings,
  options: SyncOptions,
): Promise<SyncResult> {
  const lock = new RedisLock(redis.prefix, channel.list)
  const client = await connectOnce(redis)
  let timer: NodeJS.Timeout | undefined
  try {
    // A publisher that was killed still holds the lock for a little while.
    const end = performance.now() + LOCK_LASTS + LOCK_PROLONGED
    for (let holder = await lock.take(client); holder !== true; holder = await lock.take(client)) {
      if (performance.now() > end) {
        throw new Error(
          `${holderOf(holder)} reads the list ${channel.list} and publishes it already`,
        )
      }
      await interruptible(LOCK_PROLONGED, new AbortController().signal)
    }
    // If this fails, so do the writes.
    const prolong = () => lock.prolong(client).catch(() => {})
    timer = every(LOCK_PROLONGED, 'the lock of a list that is published', prolong)
    const sink = new RedisSink(client, redis.prefix, channel.list, lock.token)
    const result = await readAndHandOn(settings, channel, sink, options)
    await lock.release(client)
    return result
  } finally {
    clearInterval(timer)
    endClient(client)
  }
}

async function readAndHandOn(
  settings: ListSettings,
  channel: ListChannel,
  sink: ListSink,
  options: SyncOptions,
): Promise<SyncResult> {
  const { snapshot } = settings
  const readSince = Date.now()
  const result = await syncOnce(settings, options)
  const { log } = options
  const publisher = new Publisher({ snapshot, channel, sink, readSince, isOnce: true, log })
  try {
    if (!(await publisher.step())) throw new Error(`there is no list in ${snapshot.file}`)
    return result
  } finally {
    await publisher.close()
  }
}

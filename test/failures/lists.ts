// Lists that go from one server to others, by a file and by Redis, while everything in it that nobody waits
// for throws: they arrive, and whatever is told to end does so.
import path from 'node:path'
import { Sharing } from '../../plugins/gal-relay/gal/snapshot/sharing'
import type { ListChannel } from '../../plugins/gal-relay/settings/list-channel'
import { parseRedisUrl, REDIS_PREFIX } from '../../plugins/gal-relay/settings/redis-url'
import { GAL, LDAP, type RecordedLog, recordedLog, SNAPSHOT, serverUrl } from '../gal/lists'
import { VALID } from '../gal/load'
import type { Faults } from '../support/faults'
import { channelBy, listFolder, startGateway } from '../support/published-list'
import { startRedis } from '../support/redis-server'
import type { Slapd } from '../support/slapd'
import { until } from '../support/until'

interface Server {
  readonly log: RecordedLog
  stop(): Promise<void>
}

function startSharing({ url, base }: Slapd, channel: ListChannel, file: string): Server {
  const log = recordedLog()
  const stop = new AbortController()
  const sharing = new Sharing(
    {
      gal: { ...GAL, mode: 'snapshot' },
      ldap: { ...LDAP, url: [serverUrl(url)], base: [base] },
      snapshot: { ...SNAPSHOT, file, channel },
    },
    channel,
    log,
  )
  const ended = sharing.run(stop.signal)
  return {
    log,
    async stop() {
      stop.abort(new Error('the end'))
      await ended
    },
  }
}

export async function publishedLists(faults: Faults, slapd: Slapd): Promise<void> {
  const { folder, key, remove } = listFolder()
  const redis = await startRedis()
  const secret = key()
  const says = ({ log }: Server, text: RegExp) =>
    until(() => log.lines.some((one) => text.test(one)))
  try {
    faults.begin('by a file')
    const carrier = { file: path.join(folder, 'published') }
    const publisher = startSharing(
      slapd,
      channelBy(carrier, secret, 'publish'),
      path.join(folder, 'read'),
    )
    const gateway = await startGateway(
      path.join(folder, 'received'),
      channelBy(carrier, secret, 'receive'),
    )
    await until(() => gateway.has(VALID[0] as string))
    await Promise.all([gateway.stop(), publisher.stop()])

    faults.begin('by Redis')
    const url = parseRedisUrl(redis.url)
    if (typeof url === 'string') throw new Error(url)
    const shared = channelBy(
      { redis: { url: [url], password_file: '', tls_ca: '', prefix: REDIS_PREFIX } },
      secret,
      'share',
    )
    const first = startSharing(slapd, shared, path.join(folder, 'first'))
    await says(first, /this server reads the list/)
    const second = startSharing(slapd, shared, path.join(folder, 'second'))
    await says(second, /the list is in force/)
    await second.stop()
    await first.stop()
    faults.end()
  } finally {
    await redis.stop()
    remove()
  }
}

// How a list gets from the server that reads the directory to the others: by Redis, or by a file that something
// else copies. It is signed and encrypted with the secret in `key_file`.
import type { Trusted } from '../trusted-file'
import type { RedisSettings } from './redis'
import type { GalSettings, SnapshotKeys } from './schema'

export interface ListChannel {
  /** The role of this server: sharing (one of several reads for all), publishing or receiving. */
  readonly role: 'publish' | 'receive' | 'share'
  /** The name of the list, which is its directory's and the same on both sides. */
  readonly list: string
  readonly key_file: string
  readonly carrier: ListCarrier
  /** Users whose key files are trusted. */
  readonly trusted?: Trusted
}

export type ListCarrier = { readonly redis: RedisSettings } | { readonly file: string }

/** A description for messages. */
export function carrierText({ carrier }: Pick<ListChannel, 'carrier'>): string {
  return 'file' in carrier ? carrier.file : carrier.redis.url.map(({ text }) => text).join(', ')
}

export type SnapshotSettings = SnapshotKeys & {
  /** Where the list is published or received; undefined if it is only for this server. */
  readonly channel?: ListChannel
  /** The command that accepts a list that has shrunk; `gal-relay sync` if undefined. */
  readonly forcedBy?: string
}

/** The only value of `received_from` that is not a file. */
export const REDIS = 'redis'

/** The server's own copy of a list, beside the file that something else brings. */
const OWN_COPY = '.received'

/**
 * @param redis undefined if no Redis is configured
 * @returns the channel of a directory's list, and the file that the list is kept in; or which key is wrong, and
 *   why; undefined where it has none
 */
export function channelOf(
  list: string,
  mode: GalSettings['mode'],
  { share, key_file, received_from, file }: SnapshotKeys,
  redis: RedisSettings | undefined,
  trusted: Trusted | undefined,
):
  | { readonly channel: ListChannel; readonly file: string }
  | { readonly key: string; readonly what: string }
  | undefined {
  const isShared = mode === 'snapshot' && share === 'redis'
  if (mode !== 'received' && !isShared) return undefined
  const why = isShared ? 'share = redis' : 'mode = received'
  if (key_file === '') {
    const what = `is missing: ${why} needs the secret that lists are signed with, the same on each side`
    return { key: 'key_file', what }
  }
  const common = { list, key_file, ...(trusted ? { trusted } : {}) }
  const from = isShared ? REDIS : received_from || (redis ? REDIS : file)
  if (from !== REDIS) {
    const channel = { ...common, role: 'receive', carrier: { file: from } } as const
    return { channel, file: from === file ? file + OWN_COPY : file }
  }
  if (!redis) {
    const key = isShared ? 'share' : 'received_from'
    const or = isShared ? '' : ', or received_from = FILE'
    return { key, what: `is redis, and there is no Redis: write a [redis] section${or}` }
  }
  return { channel: { ...common, role: isShared ? 'share' : 'receive', carrier: { redis } }, file }
}

// How a list travels from the server that reads the directory to those that do not: through Redis,
// or as a file that something else copies. In transit it is signed and encrypted with the
// `key_file` secret.
import type { Trusted } from '../trusted-file'
import type { RedisSettings } from './redis'
import type { GalSettings, SnapshotKeys } from './schema'

export interface ListChannel {
  /** What this server does. With `share`, one of several servers reads for all of them. */
  readonly role: 'publish' | 'receive' | 'share'
  /** The list's name, the same on both sides: the name of its directory. */
  readonly list: string
  readonly key_file: string
  readonly carrier: ListCarrier
  /** The users and groups whose key files are trusted. */
  readonly trusted?: Trusted
}

export type ListCarrier = { readonly redis: RedisSettings } | { readonly file: string }

/** For people to read. */
export function carrierText({ carrier }: Pick<ListChannel, 'carrier'>): string {
  return 'file' in carrier ? carrier.file : carrier.redis.url.map(({ text }) => text).join(', ')
}

export type SnapshotSettings = SnapshotKeys & {
  /** Where the list is published to or received from; `undefined` if no other server has it. */
  readonly channel?: ListChannel
  /** The command that puts a list into force although it has shrunk; `undefined`: gal-relay sync. */
  readonly forcedBy?: string
}

/** The one value of `received_from` that is not a file. */
export const REDIS = 'redis'

/** The suffix of a server's own copy, if something else delivers the list under the file's name. */
const OWN_COPY = '.received'

/**
 * @param redis `undefined` if no Redis is configured
 * @returns the channel of a directory's list and the file that the list is kept in; or the key that is
 *   wrong, and why; `undefined` if the list has no channel
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

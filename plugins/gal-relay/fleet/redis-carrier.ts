// A list in Redis. Below `<prefix>list:<name>:`
//
//   lock            which server may write, and until when (redis-lock.ts)
//   number          the last number given to a list
//   lists           a stream with one entry: the current list's head; its id is the list's number
//   <number>:<n>    the parts of that list
//   <number>:changes  a stream of the changes since then; the nth has the id n
//
// Everything but the parts is written by scripts that check the lock first, and parts count only
// once the head is there. A server that has lost the lock without knowing it thus changes nothing.
// The size is bounded: a list's parts, and changes up to the size at which its keeper rewrites it.
// The previous list expires a minute later.
import type { RedisSettings } from '../settings/redis'
import {
  ListGone,
  type ListSink,
  type ListSource,
  type News,
  type NumberedList,
  type PublishedList,
} from './carrier'
import { clientFor, endClient, library, type RedisClient } from './redis'

/** Another server may write now. */
export class LockLost extends Error {}

/** Parts of a list that was never announced expire after this many seconds. */
const PARTS_LIVE = 600
/** How long the previous list stays for servers that are still reading it, milliseconds. */
const FORMER_LIVES = 60_000
const CHANGES_AT_A_TIME = 16

const HAS_LOCK = "if redis.call('get', KEYS[1]) ~= ARGV[1] then return 'lost' end"
const LAST = `local last = redis.call('xrevrange', KEYS[2], '+', '-', 'COUNT', 1)[1]
local lastNumber = last and tonumber(string.match(last[1], '^%d+')) or 0`

/** Above this, numbers are not exact. No list has such a number, whatever was written there. */
const MOST = '9007199254740000'

const NEXT = `${HAS_LOCK}
${LAST}
if lastNumber > ${MOST} then
  redis.call('del', KEYS[2])
  lastNumber = 0
end
local given = tonumber(redis.call('get', KEYS[3]) or 0) or 0
local number = math.max(given > ${MOST} and 0 or given, lastNumber) + 1
number = string.format('%.0f', math.max(number, tonumber(ARGV[2])))
redis.call('set', KEYS[3], number)
return number`

const ANNOUNCE = `${HAS_LOCK}
if redis.call('get', KEYS[3]) ~= ARGV[3] then return 'gone' end
local prefix, number, parts = ARGV[2], ARGV[3], tonumber(ARGV[4])
for part = 0, parts - 1 do
  if redis.call('persist', prefix .. number .. ':' .. part) == 0 then return 'gone' end
end
${LAST}
redis.call('xadd', KEYS[2], 'MAXLEN', 1, number .. '-0', 'head', ARGV[5], 'parts', ARGV[4])
if last then
  local former = prefix .. string.format('%.0f', lastNumber) .. ':'
  local parts = math.min(tonumber(last[2][4] or 0) or 0, 10000)
  for part = 0, parts - 1 do redis.call('pexpire', former .. part, ${FORMER_LIVES}) end
  redis.call('pexpire', former .. 'changes', ${FORMER_LIVES})
end
return 'ok'`

const APPEND = `${HAS_LOCK}
${LAST}
if lastNumber ~= tonumber(ARGV[2]) then return 'gone' end
local added = redis.pcall('xadd', KEYS[3], ARGV[3] .. '-0', 'change', ARGV[4])
if type(added) == 'table' then
  if string.find(added.err, 'equal or smaller') then return 'gone' end
  return redis.error_reply(added.err)
end
return redis.call('xlen', KEYS[3]) == tonumber(ARGV[3]) and 'ok' or 'gone'`

const keysOf = (prefix: string, list: string) => {
  const start = `${prefix}list:${list}:`
  return {
    start,
    lock: `${start}lock`,
    number: `${start}number`,
    lists: `${start}lists`,
    part: (number: number, at: number) => `${start}${number}:${at}`,
    changes: (number: number) => `${start}${number}:changes`,
  }
}

export class RedisSink implements ListSink {
  readonly #client: RedisClient
  readonly #keys: ReturnType<typeof keysOf>
  readonly #token: string
  #list: PublishedList | undefined
  #lastNumber = 0

  /** @param token the token that the lock was taken with */
  constructor(client: RedisClient, prefix: string, list: string, token: string) {
    this.#client = client
    this.#keys = keysOf(prefix, list)
    this.#token = token
  }

  async nextNumber(): Promise<number> {
    const { lock, lists, number } = this.#keys
    // Even if Redis has lost its data, a new list gets a higher number than those before.
    const least = Math.max(Date.now(), this.#lastNumber + 1)
    const given = await this.#run(NEXT, [lock, lists, number], [String(least)])
    this.#lastNumber = Number(given)
    return this.#lastNumber
  }

  async put(list: PublishedList, part: (at: number) => Promise<Buffer>): Promise<void> {
    const { lock, lists, number, start } = this.#keys
    const expiration = { type: 'EX', value: PARTS_LIVE } as const
    for (let at = 0; at < list.parts; at++) {
      await this.#client.set(this.#keys.part(list.number, at), await part(at), { expiration })
    }
    const args = [start, String(list.number), String(list.parts), list.head]
    await this.#run(ANNOUNCE, [lock, lists, number], args)
    this.#list = list
  }

  async append(at: number, change: Buffer): Promise<void> {
    const { number } = this.#requireList()
    const { lock, lists, changes } = this.#keys
    await this.#run(APPEND, [lock, lists, changes(number)], [String(number), String(at), change])
  }

  async look(at: number): Promise<void> {
    const { number, parts } = this.#requireList()
    const { lists, part, changes } = this.#keys
    const names = Array.from({ length: parts }, (_, place) => part(number, place))
    const there = await this.#client.exists([lists, ...names])
    const length = await this.#client.xLen(changes(number))
    if (there <= parts || length !== at) throw new ListGone('Redis does not have all of the list')
  }

  async close(): Promise<void> {}

  #requireList(): PublishedList {
    if (!this.#list) throw new ListGone('there is no list yet')
    return this.#list
  }

  async #run(script: string, keys: string[], args: (string | Buffer)[]): Promise<string> {
    const result = String(
      await this.#client.eval(script, { keys, arguments: [this.#token, ...args] }),
    )
    if (result === 'lost') throw new LockLost('another server publishes the list now')
    if (result === 'gone') throw new ListGone('Redis does not have all of the list')
    return result
  }
}

/** Returns strings as buffers, because they are not text. */
const bytes = () => ({ [library().RESP_TYPES.BLOB_STRING]: Buffer })

export class RedisSource implements ListSource {
  readonly #client: RedisClient
  readonly #keys: ReturnType<typeof keysOf>
  #id = '0-0'

  private constructor(client: RedisClient, prefix: string, list: string) {
    this.#client = client
    this.#keys = keysOf(prefix, list)
  }

  /** Opens a separate connection, because it waits for news. @throws Error if that fails */
  static async open(settings: RedisSettings, list: string): Promise<RedisSource> {
    const client = await connectOnce(settings)
    return new RedisSource(client, settings.prefix, list)
  }

  async head(): Promise<Buffer | undefined> {
    const last = await this.#last()
    if (last) this.#id = last.id
    return last?.head
  }

  async part({ number }: NumberedList, at: number): Promise<Buffer | undefined> {
    const part = await this.#client.withTypeMapping(bytes()).get(this.#keys.part(number, at))
    return part ?? undefined
  }

  async news({ number }: NumberedList, from: number, patience: number): Promise<News> {
    const { lists } = this.#keys
    const changesKey = this.#keys.changes(number)
    const streams = [
      { key: changesKey, id: `${from - 1}-0` },
      { key: lists, id: this.#id },
    ]
    const options = { COUNT: CHANGES_AT_A_TIME, ...(patience > 0 ? { BLOCK: patience } : {}) }
    const read = await this.#client.withTypeMapping(bytes()).xRead(streams, options)
    const all = (read ?? []) as unknown as readonly StreamRead[]
    const changes = all
      .filter(({ name }) => String(name) === changesKey)
      .flatMap(({ messages }) => messages.flatMap(({ message }) => message.change ?? []))
    let isReplaced = all.some(({ name }) => String(name) === lists)
    // A Redis that has lost its data may hold another list, with any number.
    if (all.length === 0) isReplaced = ((await this.#last())?.id ?? this.#id) !== this.#id
    return { changes, isReplaced }
  }

  close(): void {
    endClient(this.#client)
  }

  async #last(): Promise<{ readonly id: string; readonly head: Buffer } | undefined> {
    const options = { COUNT: 1 }
    const entries = await this.#client
      .withTypeMapping(bytes())
      .xRevRange(this.#keys.lists, '+', '-', options)
    const [entry] = entries as unknown as StreamRead['messages']
    const head = entry?.message.head
    return entry && head ? { id: String(entry.id), head } : undefined
  }
}

interface StreamRead {
  readonly name: Buffer
  readonly messages: readonly {
    readonly id: Buffer
    readonly message: Readonly<Record<string, Buffer>>
  }[]
}

const CONNECT_WITHIN = 5000

/** Opens a connection that does not reconnect; callers open another instead. @throws Error */
export async function connectOnce(settings: RedisSettings): Promise<RedisClient> {
  const client = await clientFor(settings, () => {}, CONNECT_WITHIN)
  try {
    await client.connect()
    return client
  } catch (error) {
    endClient(client)
    throw error
  }
}

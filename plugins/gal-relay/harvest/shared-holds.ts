// The networks that are held off, shared by all servers with the same Redis, as a stream of events that each
// process reads once a second. A process that was away catches up. What a network does within that second
// shows in its count, which all share.
import type { RedisClient, RedisLink } from '../fleet/redis'
import { every } from '../guard'
import { type HoldEvent, readHoldEvent } from './holds'

const READ_EVERY = 1000
/** Approximate number of events that Redis keeps. */
const KEPT = 10_000
/** Events that are read in one step. */
const PIECE = 500
/** Events that wait for Redis to come back. */
const UNSENT = 1000
/** The clocks of servers may differ by this much. */
const SKEW = 60_000

const streamOf = (prefix: string) => `${prefix}harvest:holds`

/** An event and its time by the clock of Redis, because the servers' clocks differ. */
export interface TimedEvent {
  readonly event: HoldEvent
  /** Milliseconds since 1970. */
  readonly at: number
}

export interface SharedHolds {
  tell(event: HoldEvent): void
  close(): void
}

/**
 * @param holdOff how long networks are held off, milliseconds
 * @param take called with each event, also with this process's own; `isNews` is false for older events
 */
export function shareHolds(
  link: RedisLink,
  holdOff: number,
  take: (event: TimedEvent, isNews: boolean) => Promise<void>,
): SharedHolds {
  const stream = streamOf(link.prefix)
  const startedAt = Date.now()
  const unsent: { readonly event: HoldEvent; readonly since: number }[] = []
  let last = String(Math.max(0, startedAt - holdOff - SKEW))
  let isReading = false

  const send = async () => {
    while (unsent[0]) {
      const [{ event, since }] = unsent
      await link.use((client) => addEvent(client, stream, event, performance.now() - since))
      unsent.shift()
    }
  }
  const read = async () => {
    for (;;) {
      const events = await link.use(async (client) => {
        await link.probe(client)
        return eventsAfter(client, stream, last)
      })
      for (const { id, timed } of events) {
        last = id
        if (timed) await take(timed, timed.at >= startedAt)
      }
      if (events.length < PIECE) return
    }
  }
  const turn = async () => {
    if (isReading) return
    isReading = true
    try {
      await read()
      await send()
    } catch {
      // Redis is away, which the link has said.
    } finally {
      isReading = false
    }
  }
  const timer = every(READ_EVERY, 'who is held off, by Redis', turn).unref()
  return {
    tell(event) {
      if (unsent.length < UNSENT) unsent.push({ event, since: performance.now() })
    },
    close: () => clearInterval(timer),
  }
}

/** @param since milliseconds since 1970 */
export async function readHoldEvents(
  client: RedisClient,
  prefix: string,
  since: number,
): Promise<TimedEvent[]> {
  const all: TimedEvent[] = []
  let last = String(Math.max(0, since - SKEW))
  for (;;) {
    const events = await eventsAfter(client, streamOf(prefix), last)
    all.push(...events.flatMap(({ timed }) => timed ?? []))
    last = events.at(-1)?.id ?? last
    if (events.length < PIECE) return all
  }
}

export async function addHoldEvent(
  client: RedisClient,
  prefix: string,
  event: HoldEvent,
): Promise<void> {
  await addEvent(client, streamOf(prefix), event, 0)
}

/** @param age how long ago that was, milliseconds */
async function addEvent(
  client: RedisClient,
  stream: string,
  event: HoldEvent,
  age: number,
): Promise<void> {
  await client.xAdd(
    stream,
    '*',
    { event: JSON.stringify(event), age: String(Math.round(age)) },
    { TRIM: { strategy: 'MAXLEN', strategyModifier: '~', threshold: KEPT } },
  )
}

interface Read {
  readonly id: string
  /** undefined for what is none */
  readonly timed: TimedEvent | undefined
}

async function eventsAfter(client: RedisClient, stream: string, id: string): Promise<Read[]> {
  const messages = await client.xRange(stream, `(${id}`, '+', { COUNT: PIECE })
  return messages.map(({ id, message }) => {
    const event = parsed(message.event)
    // Ids begin with the milliseconds since 1970. What other releases add has no age.
    const at = Number.parseInt(id, 10) - Math.max(0, Number(message.age) || 0)
    return { id, timed: event && { event, at } }
  })
}

function parsed(text: string | undefined): HoldEvent | undefined {
  try {
    return readHoldEvent(JSON.parse(text ?? ''))
  } catch {
    return undefined
  }
}

// What waits in Haraka's outbound queue, by where it goes.
import { isHarakasOwn } from '../haraka/internals'
import { recipientOf } from '../routing/recipient'
import type { Listener } from '../settings/own-host'
import type { Settings } from '../settings/settings'
import { asBefore } from './mailboxes'
import { nextAttempt } from './next-hops'
import { routeIn } from './outbound'
import { type QueuedMessage, readQueue } from './queue-files'
import { byLeaving } from './queue-note'

/** Messages to one domain that wait for the same. */
export interface Waiting {
  /** In the order they are tried; none: the domain's MX hosts of better preference than ourselves. */
  readonly next_hops: readonly string[]
  readonly domain: string
  readonly messages: number
  readonly recipients: number
  /** Of the oldest message: when it was accepted, milliseconds since 1970. */
  readonly oldest: number
  /** The most attempts that one of them has had. */
  readonly attempts: number
}

/** @returns what a message waits for; undefined when Haraka would find it without the plugin */
export type HopsOf = (message: QueuedMessage) => readonly string[] | undefined

/**
 * @param settings undefined when they cannot be used: then what a message was accepted with counts
 * @param listeners this server's own
 */
export function hopsIn(settings: Settings | undefined, listeners: readonly Listener[]): HopsOf {
  return (message) => {
    const { domain, local, note } = message
    // A row may have come since that sends another recipient elsewhere: Haraka asks at the next attempt.
    const recipient = recipientOf(local, domain)
    const route = note && routeIn(note.routes, domain)
    if (!route && !isHarakasOwn(message)) return undefined
    const mailboxes = byLeaving(note?.mailboxes).get(`${local}@${domain}`)
    const attempt =
      settings &&
      (route && mailboxes
        ? asBefore(settings, recipient, route, mailboxes, listeners)
        : nextAttempt(settings, recipient, route, listeners))
    if (attempt?.to === 'mx') return undefined
    if (attempt?.to === 'hops') return attempt.hops.map(({ text }) => text)
    const accepted = route?.hops.map(({ url }) => url) ?? []
    return attempt || route?.backup || accepted.length > 0 ? accepted : undefined
  }
}

/** Those that `hopsOf` has nothing for are left out. The longest waiting first. */
export function grouped(messages: readonly QueuedMessage[], hopsOf: HopsOf): readonly Waiting[] {
  const groups = new Map<string, Waiting>()
  for (const message of messages) {
    const next_hops = hopsOf(message)
    if (!next_hops) continue
    const { domain, recipients, since, attempts } = message
    const key = [domain, ...next_hops].join(' ')
    const known = groups.get(key)
    groups.set(key, {
      next_hops,
      domain,
      messages: (known?.messages ?? 0) + 1,
      recipients: (known?.recipients ?? 0) + recipients,
      oldest: Math.min(known?.oldest ?? since, since),
      attempts: Math.max(known?.attempts ?? 0, attempts),
    })
  }
  return [...groups.values()].sort((a, b) => a.oldest - b.oldest)
}

/** What lies in the queue, also what Haraka finds the way of by itself. */
export interface QueueReport {
  /** Those that were read. */
  readonly messages: number
  /** There are more, which were not read. */
  readonly isCut: boolean
  readonly unreadable: number
  /** Of messages whose next hop only the plugin knows. */
  readonly byHop: readonly Waiting[]
  /** Of all others, by domain: they go to its MX hosts, or where another plugin says. */
  readonly byMx: readonly Waiting[]
}

/**
 * @param folder Haraka's queue folder
 * @param most the maximum number of messages to read, oldest first
 * @throws Error of the file system when folder or files cannot be read
 */
export async function queueReport(
  folder: string,
  settings: Settings,
  listeners: readonly Listener[],
  most: number,
): Promise<QueueReport> {
  const { messages, unreadable, isCut } = await readQueue(folder, most)
  const hopsOf = hopsIn(settings, listeners)
  return {
    messages: messages.length,
    isCut,
    unreadable: unreadable.length,
    byHop: grouped(messages, hopsOf),
    byMx: grouped(messages, (message) => (hopsOf(message) ? undefined : [])),
  }
}

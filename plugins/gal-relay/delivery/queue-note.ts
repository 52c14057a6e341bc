// What we store with a message in the outbound queue: the next hops it was accepted with, by domain, in case
// their row is removed; and the recipients as the sender wrote them, for bounces. Never a password, because
// the file outlives the settings.
import { addressOf, hostOf } from '../haraka/internals'
import type { NextHop } from '../routing/routes'

/** The route of one domain at the time the message was accepted. */
export interface RouteOfDomain {
  /** Tried in order; none: the domain's MX hosts. */
  readonly hops: readonly NotedHop[]
  /** Only MX hosts that are preferred to ourselves. */
  readonly backup?: true
}

export interface NotedHop {
  /** Without user and password. */
  readonly url: string
  /** The user whose password is in the settings; absent if the hop needs none. */
  readonly user?: string
}

export interface QueueNote {
  readonly routes: readonly (readonly [domain: string, route: RouteOfDomain])[]
  /**
   * Routes of recipients that differ from their domain's. Only until the message is stored: these recipients
   * are stored apart, with the route of their part in `routes`.
   */
  readonly apart?: ReadonlyMap<string, RouteOfDomain>
  /** Addresses that differ from what the sender wrote. */
  readonly written: readonly (readonly [address: string, asWritten: string])[]
  /** Recipients whose next hop comes from the directory, which is asked again at each attempt. */
  readonly mailboxes?: readonly NotedMailbox[]
  /** The sender said SMTPUTF8. */
  readonly smtputf8: boolean
}

export interface NotedMailbox {
  /** The outgoing address, see {@link leavingKey}. */
  readonly leaving: string
  /** The address as it was looked up. */
  readonly asked: string
  /** The directory named the server. */
  readonly byHost?: true
}

const NOTE = 'gal_relay'

/** Shared by all recipients without a next hop, which are nearly all. */
const NO_HOPS: RouteOfDomain = Object.freeze({ hops: Object.freeze([]) })
const BACKUP: RouteOfDomain = Object.freeze({ ...NO_HOPS, backup: true })

export function notedRoute(hops: readonly NextHop[], backup: boolean): RouteOfDomain {
  if (hops.length === 0) return backup ? BACKUP : NO_HOPS
  const noted = hops.map(({ text, user }) => ({
    url: text,
    ...(user === undefined ? {} : { user }),
  }))
  return { hops: noted }
}

export function setQueueNote(notes: Haraka.Notes, note: QueueNote): void {
  notes[NOTE] = note
}

/** @returns undefined when the plugin accepted none of the message's recipients */
export function queueNote(notes: Haraka.Notes): QueueNote | undefined {
  return notes[NOTE] as QueueNote | undefined
}

/**
 * What the parts of a message take along that is stored as several files: each what is for its own
 * recipients. All of it in each of them would grow with the square of their number.
 */
export interface NotesForParts {
  /** Of all recipients of the part. */
  route(part: Part): RouteOfDomain | undefined
  /** A part for each way that recipients at its domain take. */
  byRoute(part: Part): readonly (readonly Haraka.QueuedAddress[])[]
  notes(part: Part): Haraka.Notes
}

type Part = Pick<Haraka.Todo, 'domain' | 'rcpt_to'>

/** The same way out, whichever row says so. */
export function isSameRoute(one: RouteOfDomain, other: RouteOfDomain): boolean {
  return (
    one === other ||
    (one.backup === other.backup &&
      one.hops.length === other.hops.length &&
      one.hops.every(({ url, user }, i) => {
        const hop = other.hops[i]
        return hop?.url === url && hop.user === user
      }))
  )
}

export function notesForParts({ notes, rcpt_to }: Haraka.Transaction): NotesForParts {
  const note = queueNote(notes)
  const routes = new Map(note?.routes)
  const written = new Map(note?.written)
  const mailboxes = byLeaving(note?.mailboxes)
  const apart = note?.apart
  const routeOf = (domain: string, recipient: Haraka.Address | undefined) =>
    (apart && recipient && apart.get(addressOf(recipient))) ?? routes.get(domain)
  return {
    route: ({ domain, rcpt_to: [first] }) => routeOf(domain, first),
    byRoute({ domain, rcpt_to }) {
      if (!apart) return [rcpt_to]
      const parts = new Map<RouteOfDomain | undefined, Haraka.QueuedAddress[]>()
      for (const recipient of rcpt_to) {
        const route = routeOf(domain, recipient)
        const part = parts.get(route)
        if (part) part.push(recipient)
        else parts.set(route, [recipient])
      }
      return [...parts.values()]
    },
    notes(part) {
      if (!note || (!apart && part.rcpt_to.length === rcpt_to.length)) return notes
      const own = copyNotes(notes)
      const route = routeOf(part.domain, part.rcpt_to[0])
      setQueueNote(own, {
        routes: route ? [[part.domain, route]] : [],
        written: part.rcpt_to.flatMap((recipient) => {
          const address = addressOf(recipient)
          const asWritten = written.get(address)
          return asWritten === undefined ? [] : [[address, asWritten] as const]
        }),
        ...(note.mailboxes && {
          mailboxes: part.rcpt_to.flatMap(
            (recipient) => mailboxes.get(leavingKey(recipient)) ?? [],
          ),
        }),
        smtputf8: note.smtputf8,
      })
      return own
    },
  }
}

/** One spelling of an address in the queue. */
export const leavingKey = (address: Haraka.Address) => `${address.user}@${hostOf(address)}`

/** By {@link leavingKey}: several may have come to one. */
export function byLeaving(
  mailboxes: readonly NotedMailbox[] = [],
): ReadonlyMap<string, readonly NotedMailbox[]> {
  const groups = new Map<string, NotedMailbox[]>()
  for (const mailbox of mailboxes) {
    const group = groups.get(mailbox.leaving)
    if (group) group.push(mailbox)
    else groups.set(mailbox.leaving, [mailbox])
  }
  return groups
}

export function copyNotes(notes: Haraka.Notes): Haraka.Notes {
  const NotesOf = notes.constructor as new (notes: object) => Haraka.Notes
  return new NotesOf(notes)
}

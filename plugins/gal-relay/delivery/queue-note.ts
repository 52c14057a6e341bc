// What a message takes along in its file in the outbound queue: the next hops it was accepted with,
// by domain, for when their row is gone; and its recipients as the sender wrote them, for bounces.
// Never a password: the file outlives the settings.
import { addressOf } from '../haraka/internals'
import type { NextHop } from '../routing/routes'

/** What a route came to for one domain when the message was accepted. */
export interface RouteOfDomain {
  /** Tried in order; none: the domain's MX hosts. */
  readonly hops: readonly NotedHop[]
  /** Of the MX hosts only those before ourselves. */
  readonly backup?: true
}

export interface NotedHop {
  /** Without user and password. */
  readonly url: string
  /** Whose password is in the settings; without, the hop asks for none. */
  readonly user?: string
}

export interface QueueNote {
  readonly routes: readonly (readonly [domain: string, route: RouteOfDomain])[]
  /** Addresses that are not as the sender wrote them. */
  readonly written: readonly (readonly [address: string, asWritten: string])[]
  /** The sender said SMTPUTF8. */
  readonly smtputf8: boolean
}

const NOTE = 'gal_relay'

/** The same for every recipient that has no next hop, as nearly all. */
const NO_HOPS: RouteOfDomain = Object.freeze({ hops: Object.freeze([]) })
const BACKUP: RouteOfDomain = Object.freeze({ ...NO_HOPS, backup: true })

export function notedRoute(hops: readonly NextHop[], alwaysRelay: boolean): RouteOfDomain {
  if (hops.length === 0) return alwaysRelay ? BACKUP : NO_HOPS
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
  route(domain: string): RouteOfDomain | undefined
  notes(part: Pick<Haraka.Todo, 'domain' | 'rcpt_to'>): Haraka.Notes
}

export function notesForParts({ notes, rcpt_to }: Haraka.Transaction): NotesForParts {
  const note = queueNote(notes)
  const routes = new Map(note?.routes)
  const written = new Map(note?.written)
  return {
    route: (domain) => routes.get(domain),
    notes(part) {
      if (!note || part.rcpt_to.length === rcpt_to.length) return notes
      const own = copyNotes(notes)
      const route = routes.get(part.domain)
      setQueueNote(own, {
        routes: route ? [[part.domain, route]] : [],
        written: part.rcpt_to.flatMap((recipient) => {
          const address = addressOf(recipient)
          const asWritten = written.get(address)
          return asWritten === undefined ? [] : [[address, asWritten] as const]
        }),
        smtputf8: note.smtputf8,
      })
      return own
    },
  }
}

export function copyNotes(notes: Haraka.Notes): Haraka.Notes {
  const NotesOf = notes.constructor as new (notes: object) => Haraka.Notes
  return new NotesOf(notes)
}

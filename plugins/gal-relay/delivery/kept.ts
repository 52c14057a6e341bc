// What a message takes along in its file in the outbound queue: the next hops it was accepted with,
// by domain, for when their row is gone; and its recipients as the sender wrote them, for bounces.
// Never a password: the file outlives the settings.
import { addressOf } from '../haraka/internals'
import type { NextHop } from '../routing/routes'

/** What a route came to for one domain when the message was accepted. */
export interface RouteOfDomain {
  /** Tried in order; none: the domain's MX hosts. */
  readonly hops: readonly KeptHop[]
  /** Of the MX hosts only those before ourselves. */
  readonly backup?: true
}

export interface KeptHop {
  /** Without user and password. */
  readonly url: string
  /** Whose password is in the settings; without, the hop asks for none. */
  readonly user?: string
}

export interface Kept {
  readonly routes: readonly (readonly [domain: string, route: RouteOfDomain])[]
  /**
   * Of recipients that take another way than others at their domain. Before the message is stored only:
   * those are stored apart, with the route of their part in `routes`.
   */
  readonly apart?: ReadonlyMap<string, RouteOfDomain>
  /** Addresses that are not as the sender wrote them. */
  readonly written: readonly (readonly [address: string, asWritten: string])[]
  /** The sender said SMTPUTF8. */
  readonly smtputf8: boolean
}

const NOTE = 'gal_relay'

/** The same for every recipient that has no next hop, as nearly all. */
const NO_HOPS: RouteOfDomain = Object.freeze({ hops: Object.freeze([]) })
const BACKUP: RouteOfDomain = Object.freeze({ ...NO_HOPS, backup: true })

export function keptRoute(hops: readonly NextHop[], backup: boolean): RouteOfDomain {
  if (hops.length === 0) return backup ? BACKUP : NO_HOPS
  const kept = hops.map(({ text, user }) => ({
    url: text,
    ...(user === undefined ? {} : { user }),
  }))
  return { hops: kept }
}

export function keep(notes: Haraka.Notes, kept: Kept): void {
  notes[NOTE] = kept
}

/** @returns undefined when the plugin accepted none of the message's recipients */
export function keptWith(notes: Haraka.Notes): Kept | undefined {
  return notes[NOTE] as Kept | undefined
}

/**
 * What the parts of a message take along that is stored as several files: each what is for its own
 * recipients. All of it in each of them would grow with the square of their number.
 */
export interface KeptForParts {
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

export function keptForParts({ notes, rcpt_to }: Haraka.Transaction): KeptForParts {
  const kept = keptWith(notes)
  const routes = new Map(kept?.routes)
  const written = new Map(kept?.written)
  const apart = kept?.apart
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
      if (!kept || (!apart && part.rcpt_to.length === rcpt_to.length)) return notes
      const own = copyOf(notes)
      const route = routeOf(part.domain, part.rcpt_to[0])
      keep(own, {
        routes: route ? [[part.domain, route]] : [],
        written: part.rcpt_to.flatMap((recipient) => {
          const address = addressOf(recipient)
          const asWritten = written.get(address)
          return asWritten === undefined ? [] : [[address, asWritten] as const]
        }),
        smtputf8: kept.smtputf8,
      })
      return own
    },
  }
}

export function copyOf(notes: Haraka.Notes): Haraka.Notes {
  const NotesOf = notes.constructor as new (notes: object) => Haraka.Notes
  return new NotesOf(notes)
}

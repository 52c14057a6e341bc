// Defines what each kind of route means, for the decision, for delivery, for the settings and for the
// advice. A kind without an entry does not compile.
import type { AcceptingRule } from './rules'

/** `queue`: the installed queue plugins. `outbound`: Haraka's outbound queue. */
export type Path = 'queue' | 'outbound'

/** The kinds of route that a recipient can have. `foreign`: no row, or none that counts. */
export type RouteKind = 'inbound' | 'accept' | 'shared' | 'always-relay' | 'forward' | 'foreign'

/** The kinds of row that let another row decide where mail goes. */
export type ReferringKind = 'reroute' | 'refuse'

/** What is to the right of `=` in `[routes]`. */
export type RowKind = Exclude<RouteKind, 'foreign'> | ReferringKind

interface RowMeaning {
  /** What a row may be for: domains and addresses, or addresses only; `none`: there are no such rows. */
  readonly sentTo: 'any' | 'address' | 'none'
  /** Whether the row names next hops. */
  readonly nextHops: 'none' | 'optional' | 'required'
  /** Whether rows of this kind exist with `reroute = false` (Q237927). */
  readonly withoutReroute: boolean
}

interface RouteMeaning extends RowMeaning {
  /**
   * `required`: the recipient must be in the directory. `first`: one in the directory is ours, others are
   * passed on. `any-domain`: as `first`, but only with `[gal] any_domain`. `never`: not looked up.
   */
  readonly lookUp: 'required' | 'first' | 'any-domain' | 'never'
  /** Who may send to recipients that are not in the directory. */
  readonly senders: 'anyone' | 'who-may-relay'
  /**
   * `queue`: the queue plugins, or the next hops if the row names any. `outbound`: the next hops, or the MX
   * hosts. `either`: the queue plugins for recipients in the directory, outbound for the others. With
   * `[gal] any_domain`, recipients in the directory go to the queue plugins all the same.
   */
  readonly path: Path | 'either'
  /** Whether we are a backup MX: without a next hop, only MX hosts that are preferred to us get the mail. */
  readonly backup: boolean
  /** The rule that accepts recipients that are not in the directory, whoever the sender is. */
  readonly rule?: AcceptingRule
}

type Meanings = { readonly [K in RouteKind]: RouteMeaning } & {
  readonly [K in ReferringKind]: RowMeaning
}

const ROW = { sentTo: 'any', nextHops: 'optional', backup: false } as const

export const KINDS: Meanings = {
  inbound: {
    ...ROW,
    withoutReroute: true,
    lookUp: 'required',
    senders: 'anyone',
    path: 'queue',
  },
  accept: {
    ...ROW,
    withoutReroute: true,
    lookUp: 'never',
    senders: 'anyone',
    path: 'queue',
    rule: 'accept',
  },
  shared: {
    ...ROW,
    nextHops: 'required',
    withoutReroute: false,
    lookUp: 'first',
    senders: 'anyone',
    path: 'either',
    rule: 'shared',
  },
  'always-relay': {
    ...ROW,
    withoutReroute: false,
    lookUp: 'never',
    senders: 'anyone',
    path: 'outbound',
    backup: true,
    rule: 'always-relay',
  },
  forward: {
    ...ROW,
    nextHops: 'required',
    withoutReroute: false,
    lookUp: 'any-domain',
    senders: 'who-may-relay',
    path: 'outbound',
  },
  foreign: {
    ...ROW,
    sentTo: 'none',
    nextHops: 'none',
    withoutReroute: true,
    lookUp: 'any-domain',
    senders: 'who-may-relay',
    path: 'outbound',
  },
  reroute: { sentTo: 'any', nextHops: 'none', withoutReroute: false },
  refuse: { sentTo: 'address', nextHops: 'none', withoutReroute: true },
}

/** The kinds that can be written in `[routes]`. */
export const ROW_KINDS = (Object.keys(KINDS) as (keyof Meanings)[]).filter(
  (kind): kind is RowKind => KINDS[kind].sentTo !== 'none',
)

/** Whether rows of this kind count under the setting. */
export const counts = (kind: RowKind, { reroute }: { readonly reroute: boolean }): boolean =>
  reroute || KINDS[kind].withoutReroute

/** Whether recipients of this kind are ours to look up, whatever `[gal] any_domain` says. */
export const isOurs = (kind: RouteKind): boolean =>
  ['required', 'first'].includes(KINDS[kind].lookUp)

/**
 * The paths that recipients with this route take, that of recipients in the directory first; without regard to
 * `[gal] any_domain`.
 */
export function pathsOf(kind: RouteKind, hops: readonly object[]): readonly Path[] {
  const { path } = KINDS[kind]
  if (path === 'either') return ['queue', 'outbound']
  return path === 'queue' && hops.length > 0 ? ['outbound'] : [path]
}

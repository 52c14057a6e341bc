// What each kind of route means: one line for each kind, read by the decision, by delivery, by the
// settings and by the advice. A kind without a line does not compile.
import type { AcceptingRule } from './rules'

/** `queue`: the install's queue plugins. `outbound`: Haraka's outbound queue. */
export type Path = 'queue' | 'outbound'

/** The kinds of route that a recipient can have. `foreign`: no row, or none that counts. */
export type RouteKind = 'inbound' | 'accept' | 'shared' | 'always-relay' | 'forward' | 'foreign'

/** The kinds of row that leave it to another row where mail goes. */
export type ReferringKind = 'reroute' | 'refuse'

/** What is to the right of `=` in `[routes]`. */
export type RowKind = Exclude<RouteKind, 'foreign'> | ReferringKind

interface RowMeaning {
  /** What the row may be for: domains and addresses, or addresses only; `none`: it is not written. */
  readonly sentTo: 'any' | 'address' | 'none'
  /** Whether the row names next hops. */
  readonly nextHops: 'none' | 'optional' | 'required'
  /** Whether rows of this kind exist with `reroute = false` (Q237927). */
  readonly withoutReroute: boolean
}

interface RouteMeaning extends RowMeaning {
  /**
   * `required`: the recipient must be in the directory. `first`: one in the directory is ours, others are
   * passed on. `any-domain`: as `first`, and only with `[gal] any_domain`. `never`: not looked up.
   */
  readonly lookUp: 'required' | 'first' | 'any-domain' | 'never'
  /** Who may send to those that are not in the directory. */
  readonly senders: 'anyone' | 'who-may-relay'
  /**
   * `queue`: the queue plugins, or the next hops where the row names some. `outbound`: the next hops, or the
   * MX hosts. `either`: the queue plugins for those in the directory, outbound for the others.
   */
  readonly path: Path | 'either'
  /** Without a next hop, only MX hosts of better preference than ourselves: we are a backup. */
  readonly backup: boolean
  /** What accepts a recipient from anyone that is not in the directory. */
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

/** The ways that recipients with this route go: those in the directory first. */
export function pathsOf(kind: RouteKind, hops: readonly object[]): readonly Path[] {
  const { path } = KINDS[kind]
  if (path === 'either') return ['queue', 'outbound']
  return path === 'queue' && hops.length > 0 ? ['outbound'] : [path]
}

// How far the plugin decides on a listener: everything, only relaying, or nothing.
import { concernsRelaying, type Destination } from '../routing/decide'

/** `[main] enforce`. With `false` others answer; with `relaying` they answer for recipients of ours. */
export type Enforcement = boolean | 'relaying'

/** The part of a listener's policy that matters here. */
interface Enforced {
  readonly enabled: boolean
  readonly enforce: Enforcement
}

interface Accepting extends Enforced {
  /** The other plugins that accept recipients. */
  readonly acceptedBy: readonly string[]
}

/** Whether the rules decide who may relay. */
export const decidesRelaying = ({ enabled, enforce }: Enforced) => enabled && enforce !== false

/** Whether the address list decides which recipients are accepted. */
export const decidesRecipients = ({ enabled, enforce }: Enforced) => enabled && enforce === true

/** Whether the answer of the address list is only logged and counted. */
export const observesRecipients = ({ enabled, enforce }: Enforced) => enabled && enforce !== true

/**
 * Whether recipients of ours are accepted without a look-up, because no other plugin accepts any and Haraka would
 * answer 550 to all of them.
 */
export const acceptsUnasked = (policy: Accepting) =>
  observesRecipients(policy) && policy.acceptedBy.length === 0

/** Whether the plugin answers some recipients. */
export const answersAny = (policy: Accepting) => decidesRelaying(policy) || acceptsUnasked(policy)

/**
 * Whether the plugin answers this recipient. With `enforce = relaying` it does if relaying is involved.
 *
 * @param destinations of the recipient, or of all recipients that an alias replaced it with
 */
export const answersTo = (policy: Enforced, destinations: readonly Destination[]) =>
  decidesRecipients(policy) || (decidesRelaying(policy) && destinations.some(concernsRelaying))

/** In the form of gal_relay.ini. */
export const enforcementText = ({ enforce }: Pick<Enforced, 'enforce'>) => `enforce = ${enforce}`

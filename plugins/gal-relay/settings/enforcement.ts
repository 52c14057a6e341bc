// How much the plugin decides on a listener: everything, only relaying, or nothing.
import { concernsRelaying, type Destination } from '../routing/decide'

/** `[main] enforce`. With `false`, other plugins answer; with `relaying`, only to our own recipients. */
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

/** Whether the rules decide who may relay there. */
export const decidesRelaying = ({ enabled, enforce }: Enforced) => enabled && enforce !== false

/** Whether the address list decides which recipients are accepted there. */
export const decidesRecipients = ({ enabled, enforce }: Enforced) => enabled && enforce === true

/** Whether the address list's verdicts are only logged and counted there. */
export const observesRecipients = ({ enabled, enforce }: Enforced) => enabled && enforce !== true

/**
 * Whether our recipients are accepted there without a look-up: no other plugin accepts any, and Haraka
 * would answer 550 to all of them.
 */
export const acceptsUnasked = (policy: Accepting) =>
  observesRecipients(policy) && policy.acceptedBy.length === 0

/** Whether the plugin answers for any recipient there. */
export const answersAny = (policy: Accepting) => decidesRelaying(policy) || acceptsUnasked(policy)

/**
 * Whether the plugin answers for this recipient there. With `enforce = relaying`, it does if relaying is
 * involved.
 *
 * @param destinations those of the recipient, or of all that an alias replaces it with
 */
export const answersTo = (policy: Enforced, destinations: readonly Destination[]) =>
  decidesRecipients(policy) || (decidesRelaying(policy) && destinations.some(concernsRelaying))

/** The setting as written in gal_relay.ini. */
export const enforcementText = ({ enforce }: Pick<Enforced, 'enforce'>) => `enforce = ${enforce}`

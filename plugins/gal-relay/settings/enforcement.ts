// How far the plugin decides on a listener: about everything, about relaying alone, or about nothing.
import { concernsRelaying, type Destination } from '../routing/decide'

/** `[main] enforce`. false: the answers are others'. relaying: those to recipients of ours are. */
export type Enforcement = boolean | 'relaying'

/** Of a listener's policy. */
interface Enforced {
  readonly enabled: boolean
  readonly enforce: Enforcement
}

interface Accepting extends Enforced {
  /** The other plugins that accept recipients. */
  readonly acceptedBy: readonly string[]
}

/** The rules say who may relay there. */
export const decidesRelaying = ({ enabled, enforce }: Enforced) => enabled && enforce !== false

/** The address list says which recipients are accepted there. */
export const decidesRecipients = ({ enabled, enforce }: Enforced) => enabled && enforce === true

/** What the address list says is only logged and counted there. */
export const observesRecipients = ({ enabled, enforce }: Enforced) => enabled && enforce !== true

/**
 * Recipients of ours are accepted there without a look-up: nobody else accepts any, and Haraka would
 * answer 550 to them all.
 */
export const acceptsUnasked = (policy: Accepting) =>
  observesRecipients(policy) && policy.acceptedBy.length === 0

/** Some of the answers to recipients there are the plugin's. */
export const answersAny = (policy: Accepting) => decidesRelaying(policy) || acceptsUnasked(policy)

/**
 * The plugin answers to this recipient there. With `enforce = relaying` it does where relaying comes into it.
 *
 * @param destinations of the recipient, or of all that an alias puts in its place
 */
export const answersTo = (policy: Enforced, destinations: readonly Destination[]) =>
  decidesRecipients(policy) || (decidesRelaying(policy) && destinations.some(concernsRelaying))

/** As it is written in gal_relay.ini. */
export const enforcementText = ({ enforce }: Pick<Enforced, 'enforce'>) => `enforce = ${enforce}`

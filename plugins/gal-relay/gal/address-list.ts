// The one question this folder answers: is this address in the global address list (GAL)?
// Every implementation keeps the same promise, so that they can wrap each other: it answers,
// it never rejects, and what it does not know for certain it calls unavailable.
import type { Mailbox } from '../routing/mailbox'
import type { Recipient } from '../routing/recipient'

export type GalAnswer =
  | {
      readonly state: 'found'
      /** The entry takes mail from authenticated or relaying clients only. */
      readonly authenticatedOnly: boolean
      /** Where its mail goes, if the directory is to say so and does. */
      readonly mailbox?: Mailbox
    }
  | { readonly state: 'absent' }
  | {
      readonly state: 'unavailable'
      /** For the log; never holds a password. */
      readonly reason: string
    }

/** Of what several lists say, or one of several names: found where any has it, absent where all say so. */
export function stateOfAll(states: readonly GalAnswer['state'][]): GalAnswer['state'] {
  if (states.includes('found')) return 'found'
  return states.includes('unavailable') ? 'unavailable' : 'absent'
}

export const ABSENT: GalAnswer = { state: 'absent' }
export const FOUND: GalAnswer = { state: 'found', authenticatedOnly: false }
export const FOUND_AUTHENTICATED: GalAnswer = { state: 'found', authenticatedOnly: true }

export interface AddressList {
  /** Opens what it needs in the background; a look-up before that, or without it, works too. */
  start(): void
  /** At once where the answer is in memory. Never rejects; settles within `[ldap] answer_within`. */
  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer>
  /** Ends timers and sockets so that the process can end; look-ups under way are answered first or unavailable. */
  close(): Promise<void>
}

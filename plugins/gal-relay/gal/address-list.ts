// The one question that this folder answers: is this address in the global address list (GAL)?
// All implementations keep the same promise, so they can wrap each other: they answer, they never
// reject, and they report everything that is not certain as unavailable.
import type { Mailbox } from '../routing/mailbox'
import type { Recipient } from '../routing/recipient'

export type GalAnswer =
  | {
      readonly state: 'found'
      /** The entry accepts mail from authenticated or relaying clients only. */
      readonly authenticatedOnly: boolean
      /** Where its mail goes, if the directory is asked for that and says so. */
      readonly mailbox?: Mailbox
    }
  | { readonly state: 'absent' }
  | {
      readonly state: 'unavailable'
      /** For the log; never holds a password. */
      readonly reason: string
    }

/**
 * Combines the answers of several lists, or for several names: found if any of them is found,
 * absent if all are absent.
 */
export function stateOfAll(states: readonly GalAnswer['state'][]): GalAnswer['state'] {
  if (states.includes('found')) return 'found'
  return states.includes('unavailable') ? 'unavailable' : 'absent'
}

export const ABSENT: GalAnswer = { state: 'absent' }
export const FOUND: GalAnswer = { state: 'found', authenticatedOnly: false }
export const FOUND_AUTHENTICATED: GalAnswer = { state: 'found', authenticatedOnly: true }

export interface AddressList {
  /** Opens what it needs in the background; look-ups also work before this, or without it. */
  start(): void
  /** Immediate if the answer is in memory. Never rejects; settles within `[ldap] answer_within`. */
  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer>
  /**
   * Ends timers and sockets so that the process can exit. Pending look-ups are answered first, or
   * answered as unavailable.
   */
  close(): Promise<void>
}

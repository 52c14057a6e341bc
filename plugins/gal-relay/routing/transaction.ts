// The answer to a recipient also depends on the recipients accepted before it in the same transaction.
import { type Accepted, MIXED_DEFERRED, type Refused, TOO_MANY_BY_LMTP } from './decide'
import { byLmtp } from './routes'

/**
 * How many recipients of one message may go to LMTP hops. Each has a file of its own in the outbound queue,
 * with the whole message. A server must accept 100 (RFC 5321 §4.5.3.1.8).
 */
export const LMTP_RECIPIENTS = 100

/** The accepted recipients of one transaction, as far as the next one's answer depends on them. */
export class AcceptedBefore {
  readonly #paths = { queue: false, outbound: false }
  #byLmtp = 0

  add({ path, hops }: Accepted): void {
    this.#paths[path] = true
    if (byLmtp(hops)) this.#byLmtp++
  }

  /**
   * @param mixed `[routing] mixed` of the listener
   * @returns the refusal, if this recipient may not join them
   */
  refusal({ path, hops }: Accepted, mixed: 'split' | 'defer'): Refused | undefined {
    const other = path === 'queue' ? 'outbound' : 'queue'
    if (mixed === 'defer' && this.#paths[other]) return MIXED_DEFERRED
    return this.#byLmtp >= LMTP_RECIPIENTS && byLmtp(hops) ? TOO_MANY_BY_LMTP : undefined
  }
}

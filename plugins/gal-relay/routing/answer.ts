// Works out the answer to one RCPT, and the reason for it, from rows, address list, aliases and `mixed`.
// Mail gets this answer, observed listeners compare with it in the log, and `explain` shows it.
import {
  type Accepted,
  type Client,
  type Destination,
  decide,
  decideListed,
  decideUnasked,
  INTERNAL_ERROR,
  type Listing,
  type RoutingPolicy,
  type Verdict,
} from './decide'
import type { Recipient } from './recipient'
import type { AcceptedBefore } from './transaction'

export interface Question {
  readonly policy: {
    readonly routing: RoutingPolicy
    /** `[routing] mixed` */
    readonly mixed: 'split' | 'defer'
  }
  readonly client: Client
  /** Asks the address list; omitted if there is none. */
  readonly lookup?: ((recipient: Recipient) => Listing | Promise<Listing>) | undefined
  /** Whether our recipients are accepted without a look-up; see {@link decideUnasked}. */
  readonly unasked?: boolean
}

export interface Answer {
  /** Includes the rule that led to it. */
  readonly verdict: Verdict
  /** The verdicts on all the recipient's destinations, in order; empty if it is refused. */
  readonly accepted: readonly Accepted[]
}

/**
 * @param destinations the recipient, or those that an alias puts in its place: either all are accepted
 *   or none
 * @param before those accepted earlier in the transaction; a promise while some are still being looked up
 * @returns a promise only if there is something to wait for; it rejects if the look-up does
 */
export function answerTo(
  question: Question,
  destinations: readonly Destination[],
  before: AcceptedBefore | Promise<AcceptedBefore>,
): Answer | Promise<Answer> {
  const pending = destinations.map((destination) => verdictOn(question, destination))
  if (!(before instanceof Promise) && pending.every(isKnown)) {
    return combinedAnswer(question, pending, before)
  }
  return Promise.all([Promise.all(pending), before]).then(([verdicts, before]) =>
    combinedAnswer(question, verdicts, before),
  )
}

const isKnown = (verdict: Verdict | Promise<Verdict>): verdict is Verdict =>
  !(verdict instanceof Promise)

function verdictOn(question: Question, destination: Destination): Verdict | Promise<Verdict> {
  const { policy, client, lookup, unasked } = question
  const rules = unasked ? decideUnasked : decide
  const verdict = rules(policy.routing, destination, client)
  if (verdict) return verdict
  if (!lookup) return INTERNAL_ERROR
  const listing = lookup(destination.recipient)
  return listing instanceof Promise
    ? listing.then((listing) => listedVerdict(question, destination, listing))
    : listedVerdict(question, destination, listing)
}

function listedVerdict(
  { policy, client, unasked }: Question,
  destination: Destination,
  listing: Listing,
): Verdict {
  // If recipients are accepted without a look-up, rules on who may write to them are only observed.
  const open = unasked && listing.state === 'found'
  return decideListed(
    policy.routing,
    destination,
    client,
    open ? { ...listing, authenticatedOnly: false } : listing,
  )
}

function combinedAnswer(
  { policy }: Question,
  verdicts: readonly Verdict[],
  before: AcceptedBefore,
): Answer {
  const accepted: Accepted[] = []
  for (const verdict of verdicts) {
    const refused = verdict.accept ? before.refusal(verdict, policy.mixed) : verdict
    if (refused) return { verdict: refused, accepted: NONE }
    if (verdict.accept) accepted.push(verdict)
  }
  return { verdict: accepted[0] ?? INTERNAL_ERROR, accepted }
}

const NONE: readonly Accepted[] = Object.freeze([])

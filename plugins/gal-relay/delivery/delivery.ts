// The delivery of one message: which recipients were accepted, how, and by which way each leaves. It
// lives on the transaction and holds no reference back to it.
import type { Accepted, Path } from '../routing/decide'
import type { RouteKind } from '../routing/kinds'
import type { Recipient } from '../routing/recipient'
import { AcceptedBefore } from '../routing/transaction'
import type { QueueNote } from './queue-note'

export interface AcceptedRecipient {
  /** The address in `rcpt_to`. */
  readonly target: Haraka.Address
  /** The route of the row by which it leaves. */
  readonly kind: RouteKind
  readonly verdict: Accepted
  /** How it leaves: a `reroute` row may make another recipient of it (Q190710). */
  readonly leaving: Haraka.Address
  /** As the sender wrote it: another plugin may have put something else in its place. */
  readonly written: Haraka.Address
  /** As it was looked up, where the directory says which way it goes. */
  readonly asked: Recipient | undefined
}

/** The RCPT that is being answered. */
interface CurrentRcpt {
  /** The number of RCPTs in the transaction that were answered before it. */
  readonly answered: number
  /** The number of those that were answered with 250. */
  readonly accepted: number
  /** The index in `rcpt_to` of its first recipient. */
  readonly from: number
  /** The index in {@link Delivery.accepted} of its first recipient. */
  readonly acceptedFrom: number
  readonly written: Haraka.Address
}

export class Delivery {
  /** The sender said SMTPUTF8 (RFC 6531): the next server must hear it too. */
  smtputf8 = false
  readonly accepted: AcceptedRecipient[] = []
  /** The recipients of all earlier RCPTs. */
  readonly before = new AcceptedBefore()
  rcpt: CurrentRcpt | undefined
  /** The way Haraka would have taken by itself, from its trust in the client. Known once data_post has run. */
  ownPath: Path | undefined
  parts: KnownParts | undefined
  /** What to restore for later hooks, and what to store, once one part has been handed over. */
  underWay: UnderWay | undefined
  /** Settles when the message is no longer being written to the outbound queue. */
  stored: Promise<void> | undefined
}

/** A message's recipients, grouped by the way they leave, with their outgoing addresses. */
export interface Parts {
  readonly queue: readonly Haraka.Address[]
  readonly outbound: readonly Haraka.Address[]
  /** What is stored with the outbound part. */
  readonly note: QueueNote
  /** All recipients of the outbound part are ours, in mailboxes behind a next hop. */
  readonly inbound: boolean
}

/** The recipients that they apply to. */
export interface KnownParts {
  readonly otherwise: Path
  readonly recipients: readonly Haraka.Address[]
  readonly parts: Parts | undefined
}

/** One part of the message has been handed over. */
export interface UnderWay {
  readonly all: Haraka.Address[]
  readonly part: Haraka.Transaction | undefined
}

// What is known of the delivery of one message: who was accepted and how, and the ways they go. Plain data,
// which lives on the transaction and does not refer back to it.
import type { Accepted, Path } from '../routing/decide'
import type { RouteKind } from '../routing/kinds'
import type { Recipient } from '../routing/recipient'
import { AcceptedBefore } from '../routing/transaction'
import type { QueueNote } from './queue-note'

export interface AcceptedRecipient {
  /** As it is in `rcpt_to`. */
  readonly target: Haraka.Address
  /** Of the row by which it leaves. */
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
  /** How many RCPTs of the transaction were answered before it, */
  readonly answered: number
  /** and how many of them with 250. */
  readonly accepted: number
  /** Where what it stands for begins in `rcpt_to`, */
  readonly from: number
  /** and in {@link Delivery.accepted}. */
  readonly acceptedFrom: number
  readonly written: Haraka.Address
}

/** Plain data: it has no methods. */
export class Delivery {
  /** The sender said SMTPUTF8 (RFC 6531): the next server must hear it too. */
  smtputf8 = false
  readonly accepted: AcceptedRecipient[] = []
  /** The recipients of the RCPTs before the current one. */
  readonly before = new AcceptedBefore()
  rcpt: CurrentRcpt | undefined
  /** Trust in the client, and so the way Haraka would have taken by itself; known from the end of data_post on. */
  ownPath: Path | undefined
  parts: KnownParts | undefined
  /** What other hooks are to see again, and what is to follow, once one part is in other hands. */
  underWay: UnderWay | undefined
  /** Settles when the message is no longer being written to the outbound queue. */
  stored: Promise<void> | undefined
}

/** A message's recipients by the way they go, with their addresses as they leave. */
export interface Parts {
  readonly queue: readonly Haraka.Address[]
  readonly outbound: readonly Haraka.Address[]
  /** What the outbound part takes with it. */
  readonly note: QueueNote
  /** The outbound part goes to recipients of ours only, in mailboxes behind a next hop. */
  readonly inbound: boolean
}

/** They hold for these recipients. */
export interface KnownParts {
  readonly otherwise: Path
  readonly recipients: readonly Haraka.Address[]
  readonly parts: Parts | undefined
}

/** One part of the message is in other hands. */
export interface UnderWay {
  readonly all: Haraka.Address[]
  readonly part: Haraka.Transaction | undefined
}

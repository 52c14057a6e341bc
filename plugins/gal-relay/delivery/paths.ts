// Which way each accepted recipient's copy goes: the install's queue plugins, or Haraka's outbound
// queue (or both, for a message with both kinds). Haraka takes one way for a whole message, by
// `relaying` of the transaction; here it is chosen per recipient, and the message is split.
import { mixes, type Path } from '../routing/decide'

/** A message's recipients by the way they go. */
export interface Parts {
  readonly queue: readonly Haraka.Address[]
  readonly outbound: readonly Haraka.Address[]
}

/** What became of storing the outbound part. */
export type Stored = { readonly ok: true; readonly message: string } | { readonly ok: false }

/** Remembers the way of each recipient from RCPT to the queue hooks, for as long as Haraka keeps it. */
export class DeliveryPaths {
  private readonly paths = new WeakMap<Haraka.Address, Path>()
  private readonly waiting = new WeakMap<Haraka.Transaction, Outgoing>()

  accept(recipient: Haraka.Address, path: Path): void {
    this.paths.set(recipient, path)
  }

  /** True when the transaction already has a recipient that goes another way. */
  isMixed(transaction: Haraka.Transaction, recipient: Haraka.Address, path: Path): boolean {
    return transaction.rcpt_to.some(
      (other) => other !== recipient && mixes(path, this.paths.get(other)),
    )
  }

  /**
   * @param otherwise the way of recipients that another plugin accepted or put in
   * @returns undefined when the plugin accepted none of the recipients
   */
  partsOf(transaction: Haraka.Transaction, otherwise: Path): Parts | undefined {
    const parts = { queue: [] as Haraka.Address[], outbound: [] as Haraka.Address[] }
    let ours = false
    for (const recipient of transaction.rcpt_to) {
      const path = this.paths.get(recipient)
      ours ||= path !== undefined
      parts[path ?? otherwise].push(recipient)
    }
    return ours ? parts : undefined
  }

  /**
   * Leaves the queue plugins their part of a split message, and keeps the other for
   * {@link takeOutgoing}. The notes are kept as they are now: what a queue plugin notes about its
   * own delivery (queue/lmtp: "by LMTP") must not steer the other part.
   */
  split(transaction: Haraka.Transaction, parts: Parts): void {
    const all = transaction.rcpt_to
    this.waiting.set(transaction, { all, part: outboundPart(transaction, parts.outbound) })
    transaction.rcpt_to = [...parts.queue]
  }

  /** The outbound part of a split message whose other part the queue plugins have taken; once. */
  takeOutgoing(transaction: Haraka.Transaction): Haraka.Transaction | undefined {
    const outgoing = this.waiting.get(transaction)
    if (!outgoing) return undefined
    this.waiting.delete(transaction)
    // Plugins that log or count in queue_ok see the envelope as it was sent.
    transaction.rcpt_to = outgoing.all
    return outgoing.part
  }
}

interface Outgoing {
  readonly all: Haraka.Address[]
  readonly part: Haraka.Transaction
}

/** The same message with its own recipients and its own copy of the notes. */
export function outboundPart(
  transaction: Haraka.Transaction,
  recipients: readonly Haraka.Address[],
): Haraka.Transaction {
  const NotesOf = transaction.notes.constructor as new (notes: object) => Haraka.Notes
  return Object.create(transaction, {
    rcpt_to: { value: [...recipients], writable: true, enumerable: true },
    notes: { value: new NotesOf(transaction.notes), writable: true, enumerable: true },
  })
}

/** Stores a message in the outbound queue; `done` is called once, with whether all of it was stored. */
export function store(
  outbound: Haraka.Outbound,
  transaction: Haraka.Transaction,
  done: (stored: Stored, error?: unknown) => void,
): void {
  outbound.send_trans_email(transaction, (code, message) => {
    if (code === OK) done({ ok: true, message: String(message ?? '') })
    else done({ ok: false }, message)
  })
}

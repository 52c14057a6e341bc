// Which way each accepted recipient's copy goes: the install's queue plugins, or Haraka's outbound
// queue (or both, for a message with both kinds). Haraka takes one way for a whole message, by
// `relaying` of the transaction; here it is chosen per recipient, and the message is split.
import { Address } from '@haraka/email-address'
import { type Accepted, type Destination, mixes, type Path } from '../routing/decide'
import { type Kept, keep, keptRoute, type RouteOfDomain } from './kept'

/** A message's recipients by the way they go, with their addresses as they leave. */
export interface Parts {
  readonly queue: readonly Haraka.Address[]
  readonly outbound: readonly Haraka.Address[]
  /** What the outbound part takes with it. */
  readonly kept: Kept
  /** The outbound part goes to recipients of ours only, in mailboxes behind a next hop. */
  readonly inbound: boolean
}

/** Where one accepted recipient's copy goes. */
interface Way {
  readonly path: Path
  /** As it leaves: another one than was written where a `reroute` row renames the domain (Q190710). */
  readonly address: Haraka.Address
  /** As the sender wrote it. */
  readonly written: Haraka.Address
  /** Accepted because it is ours, and not because it may be passed on. */
  readonly ours: boolean
  readonly route: RouteOfDomain
}

/** A RCPT that is being answered. */
interface Current {
  /** Where its recipient stands in `rcpt_to`. */
  readonly from: number
  readonly written: Haraka.Address
}

/** Remembers the way of each recipient from RCPT to the queue hooks, for as long as Haraka keeps it. */
export class DeliveryPaths {
  // A weak key for each recipient would cost more, in collecting garbage, than the whole answer.
  private readonly ways = new WeakMap<Haraka.Transaction, Map<Haraka.Address, Way>>()
  private readonly current = new WeakMap<Haraka.Transaction, Current>()
  private readonly underWay = new WeakMap<Haraka.Transaction, UnderWay>()
  private readonly utf8 = new WeakSet<Haraka.Transaction>()

  /** The sender said SMTPUTF8 (RFC 6531): the next server must hear it too. */
  declareUtf8(transaction: Haraka.Transaction): void {
    this.utf8.add(transaction)
  }

  /** Before any plugin has looked at the recipient that Haraka has just put at the end of `rcpt_to`. */
  begin(transaction: Haraka.Transaction, written: Haraka.Address): void {
    this.current.set(transaction, { from: transaction.rcpt_to.length - 1, written })
  }

  /** The recipients that this RCPT stands for by now: an alias plugin puts others in its place. */
  targets(transaction: Haraka.Transaction): readonly Haraka.Address[] {
    return transaction.rcpt_to.slice(this.current.get(transaction)?.from ?? -1)
  }

  /** The recipient of this RCPT as the sender wrote it. */
  written(transaction: Haraka.Transaction, target: Haraka.Address): Haraka.Address {
    return this.current.get(transaction)?.written ?? target
  }

  /** Haraka takes one recipient off `rcpt_to` when RCPT is refused: an alias may have put in several. */
  refuse(transaction: Haraka.Transaction): void {
    const current = this.current.get(transaction)
    if (current) transaction.rcpt_to.splice(current.from + 1)
  }

  /** @returns the recipient as the sender wrote it */
  accept(
    transaction: Haraka.Transaction,
    target: Haraka.Address,
    { recipient, kind, hops, rerouted }: Destination,
    { rule, path }: Accepted,
  ): Haraka.Address {
    const written = this.written(transaction, target)
    this.waysOf(transaction).set(target, {
      path,
      address: rerouted ? new Address(recipient.local, recipient.domain) : target,
      written,
      ours: rule !== 'shared' && rule !== 'always-relay' && !rule.startsWith('relay-'),
      route: keptRoute(hops, kind === 'always-relay'),
    })
    return written
  }

  /** True when the transaction has a recipient of an earlier RCPT that goes another way. */
  isMixed(transaction: Haraka.Transaction, target: Haraka.Address, path: Path): boolean {
    const { rcpt_to } = transaction
    const from = this.current.get(transaction)?.from ?? rcpt_to.indexOf(target)
    const ways = this.waysOf(transaction)
    return rcpt_to.slice(0, from).some((other) => mixes(path, ways.get(other)?.path))
  }

  /** The addresses that the message leaves to, whichever way, of those the plugin accepted. */
  addresses(transaction: Haraka.Transaction): readonly string[] {
    const ways = this.waysOf(transaction)
    return transaction.rcpt_to.flatMap((recipient) => {
      const way = ways.get(recipient)
      return way ? [way.address.address] : []
    })
  }

  /**
   * @param otherwise the way of recipients that another plugin accepted or put in
   * @returns undefined when the plugin accepted none of the recipients
   */
  partsOf(transaction: Haraka.Transaction, otherwise: Path): Parts | undefined {
    const parts = {
      queue: new Map<string, Haraka.Address>(),
      outbound: new Map<string, Haraka.Address>(),
    }
    const ways = this.waysOf(transaction)
    const routes = new Map<string, RouteOfDomain>()
    const written = new Map<string, string>()
    let accepted = false
    let inbound = true
    for (const recipient of transaction.rcpt_to) {
      const way = ways.get(recipient)
      const { path = otherwise, address = recipient } = way ?? {}
      const key = address.address
      // The new and the old address of one mailbox in one message are one recipient.
      if (!parts[path].has(key)) parts[path].set(key, address)
      accepted ||= way !== undefined
      if (path !== 'outbound') continue
      inbound &&= way?.ours === true
      if (!way) continue
      routes.set(address.host, way.route)
      const asWritten = way.written.address
      if (asWritten !== key && !written.has(key)) written.set(key, asWritten)
    }
    if (!accepted) return undefined
    return {
      queue: [...parts.queue.values()],
      outbound: [...parts.outbound.values()],
      kept: {
        routes: [...routes],
        written: [...written],
        smtputf8: this.utf8.has(transaction),
      },
      inbound,
    }
  }

  /**
   * Leaves the queue plugins their part, and keeps the other, if there is one, for {@link restore}.
   * The other part's notes are kept as they are now: what a queue plugin notes about its own
   * delivery (queue/lmtp: "by LMTP") must not steer it.
   */
  toQueuePlugins(transaction: Haraka.Transaction, parts: Parts, trusted: boolean): void {
    const part = parts.outbound.length > 0 ? outboundPart(transaction, parts, trusted) : undefined
    this.underWay.set(transaction, { all: transaction.rcpt_to, part })
    transaction.rcpt_to = [...parts.queue]
    const { notes } = transaction
    notes.skip_plugins = withoutSigning(notes)
    // `aliases` says so when the new address is in another domain, and the queue plugins go by it.
    if (notes.get('queue.wants') === 'outbound') notes.queue = undefined
  }

  /**
   * The whole message goes to the outbound queue; the plugins that look at it before see it as it leaves.
   *
   * @param held what {@link heldBack} says
   */
  toOutbound(
    transaction: Haraka.Transaction,
    parts: Parts,
    trusted: boolean,
    held: string | undefined,
  ): void {
    this.underWay.set(transaction, { all: transaction.rcpt_to, part: undefined })
    transaction.rcpt_to = [...parts.outbound]
    noteOutbound(transaction.notes, parts, trusted, held)
  }

  /** True from {@link toQueuePlugins} or {@link toOutbound} on. */
  isUnderWay(transaction: Haraka.Transaction): boolean {
    return this.underWay.has(transaction)
  }

  /**
   * Once the first part is in other hands: plugins that log or count see the envelope as it was sent.
   *
   * @returns the part that is still to be stored in the outbound queue, once
   */
  restore(transaction: Haraka.Transaction): Haraka.Transaction | undefined {
    const underWay = this.underWay.get(transaction)
    if (!underWay) return undefined
    this.underWay.delete(transaction)
    transaction.rcpt_to = underWay.all
    return underWay.part
  }

  private waysOf(transaction: Haraka.Transaction): Map<Haraka.Address, Way> {
    const known = this.ways.get(transaction)
    if (known) return known
    const ways = new Map<Haraka.Address, Way>()
    this.ways.set(transaction, ways)
    return ways
  }
}

interface UnderWay {
  readonly all: Haraka.Address[]
  readonly part: Haraka.Transaction | undefined
}

/** The same message with its own recipients and its own copy of the notes. */
function outboundPart(
  transaction: Haraka.Transaction,
  parts: Parts,
  trusted: boolean,
): Haraka.Transaction {
  const NotesOf = transaction.notes.constructor as new (notes: object) => Haraka.Notes
  const notes = new NotesOf(transaction.notes)
  noteOutbound(notes, parts, trusted)
  return Object.create(transaction, {
    rcpt_to: { value: [...parts.outbound], writable: true, enumerable: true },
    notes: { value: notes, writable: true, enumerable: true },
  })
}

function noteOutbound(
  notes: Haraka.Notes,
  parts: Parts,
  trusted: boolean,
  wants = 'outbound',
): void {
  keep(notes, parts.kept)
  // Queue plugins leave a message alone that wants another: queue/smtp_forward would take all of it.
  notes.queue = { wants }
  // Signing says "from us": a stranger's mail that is passed on is not, and who is ours needs no proof.
  if (!trusted || parts.inbound) notes.skip_plugins = withoutSigning(notes)
}

const SIGNING = ['dkim', 'dkim_sign']

// Haraka keeps the names of plugins that are not to be asked in this note.
function withoutSigning(notes: Haraka.Notes): string[] {
  const skipped = Array.isArray(notes.skip_plugins) ? (notes.skip_plugins as string[]) : []
  return [...skipped, ...SIGNING]
}

// Which way each accepted recipient's copy goes: the install's queue plugins, or Haraka's outbound
// queue (or both, for a message with both kinds). Haraka takes one way for a whole message, by
// `relaying` of the transaction; here it is chosen per recipient, and the message is split.
import { addressOf, hostOf, newAddress } from '../haraka/internals'
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

const pathsOfTransactions = new WeakMap<Haraka.Transaction, DeliveryPaths>()

export function pathsOf(transaction: Haraka.Transaction): DeliveryPaths {
  const known = pathsOfTransactions.get(transaction)
  if (known) return known
  const paths = new DeliveryPaths(transaction)
  pathsOfTransactions.set(transaction, paths)
  return paths
}

/**
 * To be called when the transaction is over. Its paths lead back to it, and a scavenge spares whatever the
 * value of a weak key leads to: all of it would stay until V8 goes through the whole heap.
 */
export function forgetPaths(transaction: Haraka.Transaction): void {
  pathsOfTransactions.delete(transaction)
}

/** The way of each recipient of a transaction, from RCPT to the queue hooks. */
export class DeliveryPaths {
  readonly #transaction: Haraka.Transaction
  // Looked into when the message is there. A Map or a weak key for each recipient would cost more, in
  // collecting garbage, than the whole answer.
  readonly #accepted: { readonly target: Haraka.Address; readonly verdict: Accepted }[] = []
  /** How they leave whose domain a `reroute` row renames (Q190710). */
  #renamed: Map<Haraka.Address, Haraka.Address> | undefined
  /** As the sender wrote them, where another plugin put something else into their place. */
  #asWritten: Map<Haraka.Address, Haraka.Address> | undefined
  /** Of the RCPT that is being answered: where its recipient stands in `rcpt_to`. */
  #from: number | undefined
  #written: Haraka.Address | undefined
  /** What other hooks are to see again, and what is to follow, once one part is in other hands. */
  #underWay: UnderWay | undefined
  #utf8 = false

  constructor(transaction: Haraka.Transaction) {
    this.#transaction = transaction
  }

  /** The sender said SMTPUTF8 (RFC 6531): the next server must hear it too. */
  declareUtf8(): void {
    this.#utf8 = true
  }

  /** Before any plugin has looked at the recipient that Haraka has just put at the end of `rcpt_to`. */
  begin(written: Haraka.Address): void {
    this.#from = this.#transaction.rcpt_to.length - 1
    this.#written = written
  }

  /**
   * The recipients that this RCPT stands for by now: an alias plugin puts others in its place.
   *
   * @param address what Haraka hands to the hooks
   */
  targets(address: Haraka.Address): readonly Haraka.Address[] {
    const { rcpt_to } = this.#transaction
    if (this.#from === undefined) return [rcpt_to.at(-1) ?? address]
    const targets = rcpt_to.slice(this.#from)
    return targets.length > 0 ? targets : [address]
  }

  /** The recipient of this RCPT as the sender wrote it. */
  written(target: Haraka.Address): Haraka.Address {
    return this.#written ?? target
  }

  /** Haraka takes one recipient off `rcpt_to` when RCPT is refused: an alias may have put in several. */
  refuse(): void {
    if (this.#from !== undefined) this.#transaction.rcpt_to.splice(this.#from + 1)
  }

  accept(target: Haraka.Address, { recipient, rerouted }: Destination, verdict: Accepted): void {
    this.#accepted.push({ target, verdict })
    if (rerouted) {
      this.#renamed ??= new Map()
      const { mail_from } = this.#transaction
      this.#renamed.set(target, newAddress(mail_from, recipient.local, recipient.domain))
    }
    if (this.#written) {
      this.#asWritten ??= new Map()
      this.#asWritten.set(target, this.#written)
    }
  }

  /** True when the transaction has a recipient of an earlier RCPT that goes another way. */
  isMixed(target: Haraka.Address, path: Path): boolean {
    const { rcpt_to } = this.#transaction
    const from = this.#from ?? rcpt_to.indexOf(target)
    const verdicts = this.#verdicts()
    return rcpt_to.slice(0, from).some((other) => mixes(path, verdicts.get(other)?.path))
  }

  /** The addresses that the message leaves to, whichever way, of those the plugin accepted. */
  addresses(): readonly string[] {
    const verdicts = this.#verdicts()
    return this.#transaction.rcpt_to
      .filter((recipient) => verdicts.has(recipient))
      .map((recipient) => addressOf(this.#leavingAs(recipient)))
  }

  /**
   * @param otherwise the way of recipients that another plugin accepted or put in
   * @returns undefined when the plugin accepted none of the recipients
   */
  parts(otherwise: Path): Parts | undefined {
    const parts = {
      queue: new Map<string, Haraka.Address>(),
      outbound: new Map<string, Haraka.Address>(),
    }
    const routes = new Map<string, RouteOfDomain>()
    const written: [string, string][] = []
    const verdicts = this.#verdicts()
    let accepted = false
    let inbound = true
    for (const recipient of this.#transaction.rcpt_to) {
      const verdict = verdicts.get(recipient)
      const path = verdict?.path ?? otherwise
      const address = this.#leavingAs(recipient)
      // The new and the old address of one mailbox in one message are one recipient, and so are two
      // spellings of its domain.
      const host = hostOf(address)
      const mailbox = `${address.user}@${host}`
      const isFirst = !parts[path].has(mailbox)
      if (isFirst) parts[path].set(mailbox, address)
      accepted ||= verdict !== undefined
      if (path !== 'outbound') continue
      inbound &&= verdict !== undefined && isOurs(verdict)
      if (!verdict) continue
      routes.set(host, keptRoute(verdict.hops, verdict.rule === 'always-relay'))
      const asWritten = addressOf(this.#asWritten?.get(recipient) ?? recipient)
      const leaving = addressOf(address)
      if (isFirst && asWritten !== leaving) written.push([leaving, asWritten])
    }
    if (!accepted) return undefined
    return {
      queue: [...parts.queue.values()],
      outbound: [...parts.outbound.values()],
      kept: {
        routes: [...routes],
        written,
        smtputf8: this.#utf8,
      },
      inbound,
    }
  }

  /**
   * Leaves the queue plugins their part, and keeps the other, if there is one, for {@link restore}.
   * The other part's notes are kept as they are now: what a queue plugin notes about its own
   * delivery (queue/lmtp: "by LMTP") must not steer it.
   */
  toQueuePlugins(parts: Parts, trusted: boolean): void {
    const transaction = this.#transaction
    const part = parts.outbound.length > 0 ? outboundPart(transaction, parts, trusted) : undefined
    this.#underWay = { all: transaction.rcpt_to, part }
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
  toOutbound(parts: Parts, trusted: boolean, held: string | undefined): void {
    const transaction = this.#transaction
    this.#underWay = { all: transaction.rcpt_to, part: undefined }
    transaction.rcpt_to = [...parts.outbound]
    noteOutbound(transaction.notes, parts, trusted, held)
  }

  /** True from {@link toQueuePlugins} or {@link toOutbound} on. */
  get isUnderWay(): boolean {
    return this.#underWay !== undefined
  }

  /**
   * Once the first part is in other hands: plugins that log or count see the envelope as it was sent.
   *
   * @returns the part that is still to be stored in the outbound queue, once
   */
  restore(): Haraka.Transaction | undefined {
    const underWay = this.#underWay
    if (!underWay) return undefined
    this.#underWay = undefined
    this.#transaction.rcpt_to = underWay.all
    return underWay.part
  }

  #verdicts(): ReadonlyMap<Haraka.Address, Accepted> {
    return new Map(this.#accepted.map(({ target, verdict }) => [target, verdict]))
  }

  #leavingAs(recipient: Haraka.Address): Haraka.Address {
    return this.#renamed?.get(recipient) ?? recipient
  }
}

/** Accepted because it is ours, and not because it may be passed on. */
function isOurs({ rule }: Accepted): boolean {
  return rule !== 'shared' && rule !== 'always-relay' && !rule.startsWith('relay-')
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

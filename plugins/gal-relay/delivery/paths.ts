// Which way each accepted recipient's copy goes: the install's queue plugins, or Haraka's outbound
// queue (or both, for a message with both kinds). Haraka takes one way for a whole message, by
// `relaying` of the transaction; here it is chosen per recipient, and the message is split.
import { addressOf, hostOf, newAddress, rcptsAnswered } from '../haraka/internals'
import type { Accepted, Destination, Path, Refused } from '../routing/decide'
import { KINDS } from '../routing/kinds'
import { RULES } from '../routing/rules'
import { AcceptedBefore } from '../routing/transaction'
import { copyOf, isSameRoute, type Kept, keep, keptRoute, type RouteOfDomain } from './kept'

/** A message's recipients by the way they go, with their addresses as they leave. */
export interface Parts {
  readonly queue: readonly Haraka.Address[]
  readonly outbound: readonly Haraka.Address[]
  /** What the outbound part takes with it. */
  readonly kept: Kept
  /** The outbound part goes to recipients of ours only, in mailboxes behind a next hop. */
  readonly inbound: boolean
}

const PATHS = Symbol('gal-relay: delivery paths')

/** Those of one message, until its transaction is over. */
export function pathsOf(
  transaction: Haraka.Transaction & { [PATHS]?: DeliveryPaths },
): DeliveryPaths {
  transaction[PATHS] ??= new DeliveryPaths(transaction)
  return transaction[PATHS]
}

/** The way of each recipient of a transaction, from RCPT to the queue hooks. */
export class DeliveryPaths {
  readonly #transaction: Haraka.Transaction
  /** Trust in the client, and so the way Haraka would have taken by itself; known from the end of data_post on. */
  ownPath: Path | undefined
  /** Settles when the message is no longer being written to the outbound queue. */
  stored: Promise<void> | undefined
  // Looked into when the message is there. A Map or a weak key for each recipient would cost more, in
  // collecting garbage, than the whole answer.
  readonly #accepted: AcceptedRecipient[] = []
  /** How they leave whose domain a `reroute` row renames (Q190710). */
  #renamed: Map<Haraka.Address, Haraka.Address> | undefined
  /** As the sender wrote them, where another plugin put something else into their place. */
  #asWritten: Map<Haraka.Address, Haraka.Address> | undefined
  /** Of the RCPTs before the one that is being answered. */
  readonly #before = new AcceptedBefore()
  // Of the RCPT that is being answered.
  /** How many RCPTs of the transaction were answered before it; undefined: none is being answered. */
  #number: number | undefined
  /** How many of them were accepted. */
  #numberAccepted = 0
  /** Where what it stands for begins in `rcpt_to`, */
  #from = 0
  /** and in {@link #accepted}. */
  #acceptedFrom = 0
  #written: Haraka.Address | undefined
  #parts: KnownParts | undefined
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

  /**
   * Before any plugin has looked at the recipient that Haraka has just put at the end of `rcpt_to`. Called
   * again for the same RCPT, it does nothing.
   *
   * @param takesOff whether those that an RCPT before was refused for are taken off `rcpt_to`
   */
  begin(written: Haraka.Address, takesOff: boolean): void {
    const { rcpt_to } = this.#transaction
    const { all, accepted } = rcptsAnswered(this.#transaction)
    if (all === this.#number) return
    this.#settle(rcpt_to.length - 1, takesOff)
    this.#number = all
    this.#numberAccepted = accepted
    this.#from = rcpt_to.length - 1
    this.#acceptedFrom = this.#accepted.length
    this.#written = written
  }

  /** No more RCPTs will come: the last one is answered. */
  end(): void {
    this.#settle(this.#transaction.rcpt_to.length, true)
    this.#number = undefined
  }

  /** The recipients that this RCPT stands for by now: an alias plugin puts others in its place, or none. */
  targets(): readonly Haraka.Address[] {
    return this.#transaction.rcpt_to.slice(this.#from)
  }

  /**
   * Puts back the recipient whom another plugin took off without another in its place. Haraka takes the last
   * one off when RCPT is refused: it would be another RCPT's.
   */
  putBack(): void {
    if (this.#written) this.#transaction.rcpt_to.push(this.#written)
  }

  /** The recipient of this RCPT as the sender wrote it. */
  written(target: Haraka.Address): Haraka.Address {
    return this.#written ?? target
  }

  /** Why the transaction's other recipients do not let this one join them. */
  refusal(verdict: Accepted, mixed: 'split' | 'defer'): Refused | undefined {
    return this.#before.refusal(verdict, mixed)
  }

  // Haraka has answered by now: after our verdict come the rcpt_ok and deny hooks of others, and their
  // failures. Of a refused RCPT it takes one recipient off, and an alias may have put in several.
  #settle(end: number, takesOff: boolean): void {
    if (this.#number === undefined) return
    const { rcpt_to } = this.#transaction
    const accepted = this.#accepted
    if (rcptsAnswered(this.#transaction).accepted > this.#numberAccepted) {
      for (let i = this.#acceptedFrom; i < accepted.length; i++) {
        const one = accepted[i]
        if (one) this.#before.add(one.verdict)
      }
      return
    }
    accepted.length = this.#acceptedFrom
    if (takesOff && end > this.#from) rcpt_to.splice(this.#from, end - this.#from)
  }

  accept(target: Haraka.Address, destination: Destination, verdict: Accepted): void {
    const { recipient, kind, rerouted } = destination
    this.#accepted.push({ target, kind, verdict })
    if (rerouted) {
      this.#renamed ??= new Map()
      const { mail_from } = this.#transaction
      this.#renamed.set(target, newAddress(mail_from, recipient.local, recipient.domain))
    }
    if (this.#written && this.#written !== target) {
      this.#asWritten ??= new Map()
      this.#asWritten.set(target, this.#written)
    }
  }

  /**
   * Worked out once, unless a plugin changes the recipients.
   *
   * @param otherwise the way of recipients that another plugin accepted or put in
   * @returns undefined when the plugin accepted none of the recipients
   */
  parts(otherwise: Path): Parts | undefined {
    const { rcpt_to } = this.#transaction
    const known = this.#parts
    if (known?.otherwise === otherwise && isSame(known.recipients, rcpt_to)) return known.parts
    const parts = this.#isPlain() ? plainParts(rcpt_to) : this.#divide(otherwise)
    this.#parts = { otherwise, recipients: [...rcpt_to], parts }
    return parts
  }

  /** One recipient, for the queue plugins and as it was sent, as most messages have. */
  #isPlain(): boolean {
    const { rcpt_to } = this.#transaction
    const [first] = this.#accepted
    return (
      rcpt_to.length === 1 &&
      first?.target === rcpt_to[0] &&
      first?.verdict.path === 'queue' &&
      !this.#renamed
    )
  }

  #divide(otherwise: Path): Parts | undefined {
    const parts = {
      queue: new Map<string, Haraka.Address>(),
      outbound: new Map<string, Haraka.Address>(),
    }
    const routes = new Routes()
    const written: [string, string][] = []
    const known = new Map(this.#accepted.map((one) => [one.target, one]))
    let accepted = false
    let inbound = true
    for (const recipient of this.#transaction.rcpt_to) {
      const one = known.get(recipient)
      const path = one?.verdict.path ?? otherwise
      const address = this.#leavingAs(recipient)
      // The new and the old address of one mailbox in one message are one recipient, and so are two
      // spellings of its domain.
      const host = hostOf(address)
      const mailbox = `${address.user}@${host}`
      const isFirst = !parts[path].has(mailbox)
      if (isFirst) parts[path].set(mailbox, address)
      accepted ||= one !== undefined
      if (path !== 'outbound') continue
      inbound &&= one !== undefined && RULES[one.verdict.rule].accepts === 'ours'
      if (!one) continue
      routes.add(host, addressOf(address), keptRoute(one.verdict.hops, KINDS[one.kind].backup))
      const asWritten = addressOf(this.#asWritten?.get(recipient) ?? recipient)
      const leaving = addressOf(address)
      if (isFirst && asWritten !== leaving) written.push([leaving, asWritten])
    }
    if (!accepted) return undefined
    return {
      queue: [...parts.queue.values()],
      outbound: [...parts.outbound.values()],
      kept: {
        ...routes.kept(),
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

  #leavingAs(recipient: Haraka.Address): Haraka.Address {
    return this.#renamed?.get(recipient) ?? recipient
  }
}

/** The ways out of a message's recipients: mostly one for each domain. */
class Routes {
  readonly #byDomain = new Map<string, RouteOfDomain[]>()
  #apart: Map<string, RouteOfDomain> | undefined

  add(domain: string, address: string, route: RouteOfDomain): void {
    const known = this.#byDomain.get(domain)
    if (!known) {
      this.#byDomain.set(domain, [route])
      return
    }
    const same = known.find((one) => isSameRoute(one, route))
    if (same === known[0]) return
    if (!same) known.push(route)
    this.#apart ??= new Map()
    // One mailbox twice in a message leaves once, the way of the first.
    if (!this.#apart.has(address)) this.#apart.set(address, same ?? route)
  }

  kept(): Pick<Kept, 'routes' | 'apart'> {
    const routes = [...this.#byDomain].flatMap(([domain, [route]]) =>
      route ? [[domain, route] as const] : [],
    )
    return this.#apart ? { routes, apart: this.#apart } : { routes }
  }
}

interface AcceptedRecipient {
  readonly target: Haraka.Address
  readonly kind: Destination['kind']
  readonly verdict: Accepted
}

interface KnownParts {
  readonly otherwise: Path
  readonly recipients: readonly Haraka.Address[]
  readonly parts: Parts | undefined
}

const isSame = (some: readonly Haraka.Address[], others: readonly Haraka.Address[]) =>
  some.length === others.length && some.every((one, index) => one === others[index])

const NOTHING: Kept = { routes: [], written: [], smtputf8: false }

const plainParts = (queue: readonly Haraka.Address[]): Parts => ({
  queue: [...queue],
  outbound: [],
  kept: NOTHING,
  inbound: true,
})

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
  const notes = copyOf(transaction.notes)
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

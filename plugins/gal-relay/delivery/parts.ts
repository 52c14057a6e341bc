// Splits a message between the install's queue plugins and Haraka's outbound queue. Haraka picks one of the
// two for the whole message, by the transaction's `relaying`; here each recipient has its own.
import { addressOf, hostOf } from '../haraka/internals'
import type { Accepted } from '../routing/decide'
import { KINDS, type Path } from '../routing/kinds'
import { addressText, type Recipient } from '../routing/recipient'
import { RULES } from '../routing/rules'
import type { AcceptedRecipient, Delivery, Parts } from './delivery'
import {
  copyNotes,
  isSameRoute,
  leavingKey,
  type NotedMailbox,
  notedRoute,
  type QueueNote,
  type RouteOfDomain,
  setQueueNote,
} from './queue-note'

/**
 * Computed once, unless a plugin changes the recipients.
 *
 * @param otherwise the path for recipients that another plugin accepted or added
 * @returns undefined when the plugin accepted none of the recipients
 */
export function partsOf(
  delivery: Delivery,
  { rcpt_to }: Haraka.Transaction,
  otherwise: Path,
): Parts | undefined {
  const known = delivery.parts
  if (known?.otherwise === otherwise && isSame(known.recipients, rcpt_to)) return known.parts
  const parts = isPlain(delivery, rcpt_to)
    ? { queue: rcpt_to, outbound: NOBODY, note: NOTHING, inbound: true }
    : divide(delivery, rcpt_to, otherwise)
  delivery.parts = { otherwise, recipients: [...rcpt_to], parts }
  return parts
}

/** Most messages: all recipients go to the queue plugins unchanged, and nothing is split. */
function isPlain({ accepted }: Delivery, rcpt_to: readonly Haraka.Address[]): boolean {
  return (
    accepted.length > 0 &&
    accepted.length === rcpt_to.length &&
    accepted.every(
      ({ target, written, leaving, verdict }, index) =>
        target === rcpt_to[index] &&
        written === target &&
        leaving === target &&
        verdict.path === 'queue',
    )
  )
}

function divide(
  delivery: Delivery,
  rcpt_to: readonly Haraka.Address[],
  otherwise: Path,
): Parts | undefined {
  const parts = {
    queue: new Map<string, Haraka.Address>(),
    outbound: new Map<string, Haraka.Address>(),
  }
  const routes = new Routes()
  const written: [string, string][] = []
  const mailboxes: NotedMailbox[] = []
  // Another recipient with the same address, which the directory has not routed.
  const notRouted = new Set<string>()
  const recipients = new Map(delivery.accepted.map((one) => [one.target, one]))
  let accepted = false
  let inbound = true
  for (const recipient of rcpt_to) {
    const own = recipients.get(recipient)
    const path = own?.verdict.path ?? otherwise
    const address = own?.leaving ?? recipient
    // The old and the new address of one mailbox are one recipient, and so are two
    // spellings of its domain.
    const host = hostOf(address)
    const mailbox = leavingKey(address)
    const isFirst = !parts[path].has(mailbox)
    if (isFirst) parts[path].set(mailbox, address)
    accepted ||= own !== undefined
    if (path !== 'outbound') continue
    inbound &&= own !== undefined && isWithUs(own)
    if (!own?.asked) notRouted.add(mailbox)
    if (!own) continue
    if (own.asked) mailboxes.push(notedMailbox(mailbox, own.asked, own.verdict))
    const asWritten = addressOf(own.written)
    const leaving = addressOf(address)
    routes.add(host, leaving, notedRoute(own.verdict.hops, KINDS[own.kind].backup))
    if (isFirst && asWritten !== leaving) written.push([leaving, asWritten])
  }
  if (!accepted) return undefined
  return {
    queue: [...parts.queue.values()],
    outbound: [...parts.outbound.values()],
    note: {
      ...routes.noted(),
      written,
      ...(mailboxes.length > 0 && {
        mailboxes: mailboxes.filter(({ leaving }) => !notRouted.has(leaving)),
      }),
      smtputf8: delivery.smtputf8,
    },
    inbound,
  }
}

/** Mail that leaves for another system under another name is outbound, like all mail to that system. */
function isWithUs({ kind, verdict }: AcceptedRecipient): boolean {
  return (
    RULES[verdict.rule].accepts === 'ours' && (!verdict.leavesAs || KINDS[kind].path === 'queue')
  )
}

function notedMailbox(leaving: string, asked: Recipient, { byHost }: Accepted): NotedMailbox {
  return { leaving, asked: addressText(asked), ...(byHost ? { byHost } : {}) }
}

/**
 * Leaves the queue plugins their part and keeps the other one, if any, for {@link restore}. That part keeps
 * its current notes: a queue plugin's note about its own delivery (queue/lmtp: "by LMTP") must not affect
 * it.
 *
 * @returns whether {@link restore} must be called, because the queue plugins see a changed envelope
 */
export function toQueuePlugins(
  delivery: Delivery,
  transaction: Haraka.Transaction,
  parts: Parts,
  trusted: boolean,
): boolean {
  const { rcpt_to, notes } = transaction
  const isSplit = !isSame(parts.queue, rcpt_to)
  if (isSplit) {
    const part = parts.outbound.length > 0 ? outboundPart(transaction, parts, trusted) : undefined
    delivery.underWay = { all: rcpt_to, part }
    transaction.rcpt_to = [...parts.queue]
  }
  notes.skip_plugins = withoutSigning(notes)
  // `aliases` sets this when the new address is in another domain, and queue plugins rely on it.
  if (notes.get('queue.wants') === 'outbound') notes.queue = undefined
  return isSplit
}

/**
 * The whole message goes to the outbound queue. Plugins that run before see the outgoing envelope.
 *
 * @param held what {@link heldBack} says
 */
export function toOutbound(
  delivery: Delivery,
  transaction: Haraka.Transaction,
  parts: Parts,
  trusted: boolean,
  held: string | undefined,
): void {
  delivery.underWay = { all: transaction.rcpt_to, part: undefined }
  transaction.rcpt_to = [...parts.outbound]
  noteOutbound(transaction.notes, parts, trusted, held)
}

/**
 * Called once the first part has been handed over: plugins that log or count then see the original envelope.
 *
 * @returns the part that must still be stored in the outbound queue; only the first time
 */
export function restore(
  delivery: Delivery,
  transaction: Haraka.Transaction,
): Haraka.Transaction | undefined {
  const { underWay } = delivery
  if (!underWay) return undefined
  delivery.underWay = undefined
  transaction.rcpt_to = underWay.all
  return underWay.part
}

const isSame = (some: readonly Haraka.Address[], others: readonly Haraka.Address[]) =>
  some.length === others.length && some.every((one, index) => one === others[index])

const NOBODY: readonly Haraka.Address[] = []
const NOTHING: QueueNote = { routes: [], written: [], smtputf8: false }

/** The next hops of a message's recipients, usually one set for each domain. */
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
    // A mailbox that is named twice gets one copy, by the next hop of the first.
    if (!this.#apart.has(address)) this.#apart.set(address, same ?? route)
  }

  noted(): Pick<QueueNote, 'routes' | 'apart'> {
    const routes = [...this.#byDomain].flatMap(([domain, [route]]) =>
      route ? [[domain, route] as const] : [],
    )
    return this.#apart ? { routes, apart: this.#apart } : { routes }
  }
}

/** The same message with its own recipients and its own copy of the notes. */
function outboundPart(
  transaction: Haraka.Transaction,
  parts: Parts,
  trusted: boolean,
): Haraka.Transaction {
  const notes = copyNotes(transaction.notes)
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
  setQueueNote(notes, parts.note)
  // Queue plugins ignore a message meant for another one: queue/smtp_forward would take all of it.
  notes.queue = { wants }
  // A signature says that mail is from us: mail that a stranger sent through us is not, and ours needs none.
  if (!trusted || parts.inbound) notes.skip_plugins = withoutSigning(notes)
}

const SIGNING = ['dkim', 'dkim_sign']

// Haraka keeps the names of plugins to skip in this note.
function withoutSigning(notes: Haraka.Notes): string[] {
  const skipped = Array.isArray(notes.skip_plugins) ? (notes.skip_plugins as string[]) : []
  return [...skipped, ...SIGNING]
}

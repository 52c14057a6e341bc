// Our part in Haraka's outbound queue, which delivers, retries and bounces: what we store in it, where each
// attempt goes, and the names by which a bounce lists the recipients.

import { guard } from '../guard'
import {
  addressOf,
  declareUtf8,
  hostOf,
  inOrder,
  isAscii,
  isHarakasOwn,
  newAddress,
  splitByRecipient,
  storeInQueue,
  tlsOptionsOf,
  todoFor,
  withFateOf,
} from '../haraka/internals'
import type { Log } from '../log'
import { canonicalDomain, recipientAt, recipientOf } from '../routing/recipient'
import { byLmtp, type NextHop } from '../routing/routes'
import type { OwnHost } from '../settings/own-host'
import type { Settings } from '../settings/settings'
import { HostAddresses } from './host-addresses'
import {
  answersFor,
  goTogether,
  type LookUp,
  type NextStep,
  nextStep,
  noteSteps,
} from './mailboxes'
import { mxBeforeUs } from './mx'
import { hasAddressRows, nextAttempt, renamedTo } from './next-hops'
import {
  byLeaving,
  leavingKey,
  type NotesForParts,
  notesForParts,
  type QueueNote,
  queueNote,
  type RouteOfDomain,
} from './queue-note'
import { needsTls, SecureHops } from './secure-hop'

/** The result of storing a message. */
export type Stored = { readonly ok: true; readonly message: string } | { readonly ok: false }

/** What the get_mx hook answers. */
export type MxAnswer =
  | { readonly code: 'ok'; readonly mxs: readonly Haraka.Mx[] }
  /** Haraka or another plugin decides. */
  | { readonly code: 'up-to-haraka' }
  | { readonly code: 'later' | 'never'; readonly reason: string }
  /** The message was put back into the queue, one copy for each recipient. */
  | { readonly code: 'split' }

export class OutboundMail {
  private readonly addresses = new HostAddresses()
  private readonly secureHops: SecureHops

  constructor(
    private readonly outbound: Haraka.Outbound,
    private readonly own: OwnHost,
    private readonly log: Log,
    private readonly lookUp: LookUp,
  ) {
    this.secureHops = new SecureHops(own.name, log)
  }

  /** @param done called once; either all copies were stored or none */
  store(transaction: Haraka.Transaction, done: (stored: Stored, error?: unknown) => void): void {
    const own = notesForParts(transaction)
    const stored = (code: number | undefined, message: unknown) => {
      if (code === OK) done({ ok: true, message: String(message ?? '') })
      else done({ ok: false }, message)
    }
    // Better to deliver a copy twice than to lose one.
    const notAnswered = (error: unknown) => done({ ok: false }, error)
    storeInQueue(
      this.outbound,
      transaction,
      async (todo, store) => {
        for (const part of filesOf(todo, own)) {
          await store(todoFor(part, { notes: own.notes(part) }))
          // The client has gone and will try again: Haraka removes what it has stored so far.
          if (transaction.resetting) throw new Error('the client has gone')
        }
      },
      guard('answer of the outbound queue', stored, notAnswered),
    )
  }

  /**
   * Prepares a message for this attempt, and says where it goes. May rename the recipient of a bounce, or store
   * the message again as several.
   */
  async mxFor(item: Haraka.QueueItem, domain: string, settings: Settings): Promise<MxAnswer> {
    const { todo } = item
    const note = queueNote(todo.notes)
    const route = note && routeIn(note.routes, domain)
    // Mail from a listener without this plugin, or for recipients that others accepted. [routes] applies to
    // bounces too: by the MX record, those to a domain of ours would come back to us.
    if (!route && !isHarakasOwn(todo)) return { code: 'up-to-haraka' }
    if (!route) rename(todo, settings)
    if (note?.smtputf8 || !todo.rcpt_to.every(isAscii)) declareUtf8(todo.mail_from)
    const steps = await this.nextSteps(todo, route, settings)
    const [step] = steps
    // They were stored together before a row or the directory gave them different next hops.
    if (!step || steps.some((other) => !goTogether(todo, step, other))) {
      await splitByRecipient(this.outbound, item)
      return { code: 'split' }
    }
    noteSteps(todo, steps)
    const { attempt } = step
    switch (attempt.to) {
      case 'mx':
        return { code: 'up-to-haraka' }
      case 'nowhere-now':
        return { code: 'later', reason: attempt.reason }
      case 'mx-before-us': {
        const found = await mxBeforeUs(this.outbound, this.own, todo.domain)
        if ('mxs' in found) return { code: 'ok', mxs: inOrder(this.outbound, found.mxs) }
        return { code: found.temporary ? 'later' : 'never', reason: found.reason }
      }
      case 'hops':
        // It was stored for an SMTP hop, before its row was changed to LMTP.
        if (byLmtp(attempt.hops) && todo.rcpt_to.length > 1) {
          await splitByRecipient(this.outbound, item)
          return { code: 'split' }
        }
        return this.through(fromNext(attempt.hops, item.num_failures))
    }
  }

  /** One route for all recipients, unless some have rows of their own or are looked up. */
  private async nextSteps(
    todo: Haraka.Todo,
    route: RouteOfDomain | undefined,
    settings: Settings,
  ): Promise<readonly NextStep[]> {
    const domain = canonicalDomain(todo.domain)
    const { listeners } = this.own
    const { mailboxes = [] } = queueNote(todo.notes) ?? {}
    const isOneForAll = mailboxes.length === 0 && !hasAddressRows(settings, domain)
    const recipients = isOneForAll ? todo.rcpt_to.slice(0, 1) : todo.rcpt_to
    const noted = byLeaving(mailboxes)
    const answers = await answersFor(mailboxes, this.lookUp)
    return recipients.map((one) => {
      const recipient = recipientAt(one.user, domain)
      const asked = noted.get(leavingKey(one))
      if (!route || !asked) return { attempt: nextAttempt(settings, recipient, route, listeners) }
      const step = nextStep(settings, recipient, route, asked, answers, listeners)
      if (step.problem)
        this.log.warn(`${addressOf(one)} goes where it went last time: ${step.problem}`)
      return step
    })
  }

  close(): Promise<void> {
    return this.secureHops.close()
  }

  private async through(hops: readonly NextHop[]): Promise<MxAnswer> {
    const mxs: Haraka.Mx[] = []
    const reasons: string[] = []
    for (const hop of hops) {
      try {
        mxs.push(...(await this.mxsOf(hop)))
      } catch (error) {
        reasons.push(`next hop ${hop.text}: ${(error as Error).message}`)
      }
    }
    for (const reason of reasons) this.log.warn(reason)
    return mxs.length > 0
      ? { code: 'ok', mxs: inOrder(this.outbound, mxs) }
      : { code: 'later', reason: reasons.join('; ') }
  }

  private async mxsOf(hop: NextHop): Promise<Haraka.Mx[]> {
    const base = { priority: 0, ...(hop.protocol === 'lmtp' ? { using_lmtp: true } : {}) }
    if (needsTls(hop)) {
      const path = await this.secureHops.pathTo(hop, (host) => tlsOptionsOf(this.outbound, host))
      return [{ ...base, path }]
    }
    return (await this.addresses.of(hop.host)).map((address) => {
      // With the name, TLS checks the right certificate, but Haraka would skip a hop on this machine.
      const named = address !== hop.host && !this.outbound.net_utils.is_local_ip(address)
      const from = named ? { from_dns: hop.host } : {}
      return { ...base, ...from, exchange: address, port: hop.port }
    })
  }
}

/** One file for each way out; with LMTP, one for each recipient. */
function* filesOf(todo: Haraka.Todo, notes: NotesForParts): Generator<Haraka.Todo> {
  const parts = notes.byRoute(todo)
  for (const [index, rcpt_to] of parts.entries()) {
    const uuid = parts.length === 1 ? todo.uuid : `${todo.uuid}.${index + 1}`
    const part = parts.length === 1 ? todo : todoFor(todo, { rcpt_to: [...rcpt_to], uuid })
    yield* oneRecipientByLmtp(part, notes.route(part))
  }
}

// If an LMTP server accepts the message for the first recipient and not for the second, Haraka (3.0.3 to
// 3.3.4) blames the wrong one (hmail.js, `dot_lmtp`): one copy is lost, the other is delivered twice.
function* oneRecipientByLmtp(
  todo: Haraka.Todo,
  route: RouteOfDomain | undefined,
): Generator<Haraka.Todo> {
  if (!route?.hops.some(({ url }) => url.startsWith('lmtp:')) || todo.rcpt_to.length === 1) {
    yield todo
    return
  }
  for (const [index, recipient] of todo.rcpt_to.entries()) {
    yield todoFor(todo, { rcpt_to: [recipient], uuid: `${todo.uuid}.${index + 1}` })
  }
}

// A host that replies 4xx ends the attempt, so the next attempt starts with the host after it.
function fromNext(hops: readonly NextHop[], failures: number): readonly NextHop[] {
  const turn = failures % hops.length
  return [...hops.slice(turn), ...hops.slice(0, turn)]
}

export function routeIn(routes: QueueNote['routes'], domain: string): RouteOfDomain | undefined {
  return routes.find(([of]) => of === domain)?.[1]
}

/** For a bounce, which has one recipient. */
function rename(todo: Haraka.Todo, settings: Settings): void {
  const [one] = todo.rcpt_to
  const to = one && renamedTo(settings, recipientOf(one.user, hostOf(one)))
  if (!to || todo.rcpt_to.length > 1) return
  todo.domain = to.domain
  todo.rcpt_to = [withFateOf(one, newAddress(todo.mail_from, to.local, to.domain))]
}

/** Makes bounces list the recipients as the sender wrote them. */
export function nameAsWritten({ todo }: Haraka.QueueItem, error: Haraka.BounceError): void {
  const written = new Map(queueNote(todo.notes)?.written)
  const named = new Map<string, string>()
  // For some bounces Haraka makes an item with part of the recipients, and drops their delivery status.
  const bounced = new Map(error.bounced_rcpt?.map((one) => [addressOf(one), one]))
  todo.rcpt_to = todo.rcpt_to.map((recipient) => {
    const known = bounced.get(addressOf(recipient)) ?? recipient
    const name = written.get(addressOf(recipient))
    if (name === undefined) return withFateOf(known, recipient)
    const asWritten = newAddress(todo.mail_from, `<${name}>`)
    named.set(recipient.format(), asWritten.format())
    return withFateOf(known, asWritten)
  })
  if (named.size > 0) error.message = error.message.replace(PATH, (path) => named.get(path) ?? path)
}

/** An address in angle brackets; its local part may be quoted. */
const PATH = /<(?:"(?:[^"\\]|\\.)*"|[^<>"])*>/g

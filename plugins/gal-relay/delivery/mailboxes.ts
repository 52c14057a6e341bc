// Queued mail for recipients whose next hop comes from the directory. The directory is asked again at each
// attempt, so that mail follows a mailbox that has moved.
import type { GalAnswer } from '../gal/address-list'
import { addressOf, hostOf, newAddress, withFateOf } from '../haraka/internals'
import { type Client, decideListed, destinationOf } from '../routing/decide'
import { isOurs, KINDS, type RouteKind } from '../routing/kinds'
import { canonicalDomain, type Recipient, recipientAt } from '../routing/recipient'
import type { NextHop } from '../routing/routes'
import type { Listener } from '../settings/own-host'
import type { Settings } from '../settings/settings'
import {
  type Attempt,
  asAccepted,
  isSameAttempt,
  nextAttempt,
  policyOfRows,
  toOurselves,
} from './next-hops'
import {
  byLeaving,
  leavingKey,
  type NotedMailbox,
  notedRoute,
  queueNote,
  type RouteOfDomain,
  setQueueNote,
} from './queue-note'

/** Asks the address list; never rejects. */
export type LookUp = (recipient: Recipient) => GalAnswer | Promise<GalAnswer>

/** What happens to one recipient at this attempt. */
export interface NextStep {
  readonly attempt: Attempt
  /** If the directory has just answered: the outgoing address, and whether it names a server. */
  readonly mailbox?: { readonly leavesAs: Recipient; readonly byHost: boolean }
  /** Why the directory's answer is ignored. */
  readonly problem?: string
}

type FromDirectory = Required<Pick<NextStep, 'attempt' | 'mailbox'>>

/** Concurrent look-ups for one message. They are few, because look-ups at RCPT come first. */
const AT_ONCE = 10

/**
 * What the directory says now about the mailboxes, by the address that was looked up. Once a look-up for a
 * domain fails, the domain's other mailboxes are not looked up: each would take just as long.
 */
export async function answersFor(
  mailboxes: readonly NotedMailbox[],
  lookUp: LookUp,
): Promise<ReadonlyMap<string, GalAnswer>> {
  const answers = new Map<string, GalAnswer>()
  const silent = new Map<string, GalAnswer>()
  const waiting = new Set(mailboxes.map(({ asked }) => asked)).values()
  const ask = async () => {
    for (const address of waiting) {
      const recipient = recipientIn(address)
      const answer = silent.get(recipient.domain) ?? (await lookUp(recipient))
      if (answer.state === 'unavailable') silent.set(recipient.domain, answer)
      answers.set(address, answer)
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, mailboxes.length) }, ask))
  return answers
}

/** The address as it was looked up. */
function recipientIn(address: string): Recipient {
  const at = address.lastIndexOf('@')
  return recipientAt(address.slice(0, at), address.slice(at + 1))
}

/**
 * Pure. Several addresses may leave as the same one; only what is true of all of them counts.
 *
 * @param recipient the outgoing address
 * @param mailboxes its notes, one for each address that was looked up
 */
export function nextStep(
  settings: Settings,
  recipient: Recipient,
  noted: RouteOfDomain,
  mailboxes: readonly NotedMailbox[],
  answers: ReadonlyMap<string, GalAnswer>,
  listeners: readonly Listener[],
): NextStep {
  const steps = mailboxes.map((mailbox) => {
    const answer = answers.get(mailbox.asked)
    return answer?.state === 'found'
      ? today(settings, recipient, mailbox, answer, listeners)
      : undefined
  })
  const [step] = steps
  if (step && 'attempt' in step && steps.every((other) => isSameStep(step, other))) return step
  const attempt = asBefore(settings, recipient, noted, mailboxes, listeners)
  const problem = steps.find((one) => one && 'problem' in one)
  return { attempt, ...problem }
}

/** Where it goes without an answer: no row overrides the server that the directory named before. */
export function asBefore(
  settings: Settings,
  recipient: Recipient,
  noted: RouteOfDomain,
  mailboxes: readonly NotedMailbox[],
  listeners: readonly Listener[],
): Attempt {
  return mailboxes.some(({ byHost }) => byHost)
    ? asAccepted(settings, recipient.domain, noted)
    : nextAttempt(settings, recipient, noted, listeners)
}

/** @returns undefined if the directory's answer does not count */
function today(
  settings: Settings,
  recipient: Recipient,
  mailbox: NotedMailbox,
  answer: Extract<GalAnswer, { state: 'found' }>,
  listeners: readonly Listener[],
): FromDirectory | { readonly problem: string } | undefined {
  const policy = policyOfRows(settings)
  if (!policy) return undefined
  const asked = recipientIn(mailbox.asked)
  const own = destinationOf(policy.routing, asked)
  // New rows may have renamed the recipient since, or no longer count it as ours.
  if (own.rerouted || !isOurs(own.kind)) return undefined
  // It has always gone where its row says.
  const isByRow = !mailbox.byHost && isSameMailbox(recipient, asked)
  if (!answer.mailbox && isByRow) return undefined
  const verdict = decideListed(policy.routing, own, ACCEPTED_BEFORE, answer)
  if (!verdict.accept) return { problem: verdict.problem ?? verdict.rule }
  const { path, hops, kind = own.kind, leavesAs = asked, byHost = false } = verdict
  if (path === 'queue') {
    // The queue plugins get it like any other mail for it, after another look-up.
    const attempt = toOurselves(settings, listeners, asked)
    return attempt && { attempt, mailbox: { leavesAs: asked, byHost: true } }
  }
  return { attempt: attemptOf(hops, kind), mailbox: { leavesAs, byHost } }
}

/** Whether the sender may send to it was decided when it was accepted. */
const ACCEPTED_BEFORE: Client = {
  trust: { mayRelay: false, rule: 'nobody' },
  authenticated: true,
}

function attemptOf(hops: readonly NextHop[], kind: RouteKind): Attempt {
  if (hops.length > 0) return { to: 'hops', hops }
  return KINDS[kind].backup ? { to: 'mx-before-us' } : { to: 'mx' }
}

const isSameMailbox = (one: Recipient, other: Recipient) =>
  one.local === other.local && one.domain === other.domain

function isSameStep(one: FromDirectory, other: ReturnType<typeof today>): boolean {
  return (
    other !== undefined &&
    'attempt' in other &&
    isSameMailbox(one.mailbox.leavesAs, other.mailbox.leavesAs) &&
    isSameAttempt(one.attempt, other.attempt)
  )
}

/** Whether the two can be delivered in one transaction. */
export function goTogether({ domain }: Haraka.Todo, one: NextStep, other: NextStep): boolean {
  const domainOf = ({ mailbox }: NextStep) => mailbox?.leavesAs.domain ?? canonicalDomain(domain)
  return (
    one === other ||
    (domainOf(one) === domainOf(other) && isSameAttempt(one.attempt, other.attempt))
  )
}

/**
 * Gives recipients the outgoing addresses that the directory names. The note keeps the last next hop, which
 * is used while the directory cannot be asked.
 *
 * @param steps of the recipients, in order; all recipients leave together
 */
export function noteSteps(todo: Haraka.Todo, steps: readonly NextStep[]): void {
  const note = queueNote(todo.notes)
  const followed = steps.find(({ mailbox }) => mailbox)
  if (!note || !followed?.mailbox) return
  const written = new Map(note.written)
  const noted = byLeaving(note.mailboxes)
  const mailboxes: NotedMailbox[] = []
  const recipients = new Map<string, Haraka.QueuedAddress>()
  for (const [index, recipient] of todo.rcpt_to.entries()) {
    const own = noted.get(leavingKey(recipient)) ?? []
    const mailbox = steps[index]?.mailbox
    const leaving = mailbox ? renamed(todo, recipient, mailbox.leavesAs) : recipient
    const key = leavingKey(leaving)
    // Two mailboxes may have become one.
    if (!recipients.has(key)) recipients.set(key, leaving)
    if (leaving !== recipient) {
      const former = addressOf(recipient)
      written.set(addressOf(leaving), written.get(former) ?? former)
    }
    const byHost = mailbox ? mailbox.byHost : own.some((one) => one.byHost)
    mailboxes.push(
      ...own.map(({ asked }) => ({ leaving: key, asked, ...(byHost ? { byHost } : {}) })),
    )
  }
  const { domain } = followed.mailbox.leavesAs
  if (canonicalDomain(todo.domain) !== domain) todo.domain = domain
  todo.rcpt_to = [...recipients.values()]
  const routes = [[todo.domain, routeOfAttempt(followed.attempt)] as const]
  setQueueNote(todo.notes, { ...note, routes, written: [...written], mailboxes })
}

function renamed(
  { mail_from }: Haraka.Todo,
  recipient: Haraka.QueuedAddress,
  { local, domain }: Recipient,
): Haraka.QueuedAddress {
  if (recipient.user === local && canonicalDomain(hostOf(recipient)) === domain) return recipient
  return withFateOf(recipient, newAddress(mail_from, local, domain))
}

function routeOfAttempt(attempt: Attempt): RouteOfDomain {
  return notedRoute(attempt.to === 'hops' ? attempt.hops : [], attempt.to === 'mx-before-us')
}

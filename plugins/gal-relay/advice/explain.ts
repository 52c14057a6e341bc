// What would these recipients be answered, and why? The functions that answer mail give the answer;
// here they also report each step. The recipients of one question form one transaction.
import type { Address } from '@haraka/email-address'
import type { DirectoryLists } from '../gal/directories'
import { replyText } from '../report/refusal'
import { answerTo } from '../routing/answer'
import {
  type Client,
  type Destination,
  destinationOf,
  type Path,
  type Rule,
} from '../routing/decide'
import { parseIp } from '../routing/networks'
import { addressText, type Recipient, recipientOf } from '../routing/recipient'
import { trustByAddress, trustOf } from '../routing/restrictions'
import { AcceptedBefore } from '../routing/transaction'
import { answersTo, decidesRelaying } from '../settings/enforcement'
import {
  canonicalAddress,
  type ListenerPolicy,
  policyFor,
  type Settings,
} from '../settings/settings'
import { type EnvelopeGrammar, parsePath } from './envelope'
import {
  type Asked,
  addressStep,
  answerStep,
  clientStep,
  deliverySteps,
  directorySteps,
  listenerStep,
  routeSteps,
  type Step,
  senderStep,
  serverMemory,
} from './explain-steps'

export interface Question {
  /** What follows `RCPT TO:`; angle brackets are optional. */
  readonly recipients: readonly string[]
  /** IP address. */
  readonly client: string
  /** Where the client connects to: `10.0.0.5:25`, `[2001:db8::5]:25`. */
  readonly listener: string
  /** The account that the client has authenticated as, if any. */
  readonly account?: string
  /** What follows `MAIL FROM:`; '' is the null sender. If omitted, any sender. */
  readonly sender?: string
  readonly grammar?: EnvelopeGrammar
  /** Sentences about other plugins that may make Haraka answer differently. */
  readonly plugins?: readonly string[]
  /** The list is not that of a running server, which may remember more while the directory is down. */
  readonly remembersNothing?: boolean
}

export interface Explanation {
  /** As asked. */
  readonly recipient: string
  /** As the server sends it; lines separated by `\n`. */
  readonly reply: string
  readonly code: number
  /**
   * The rule that decided. If the plugin does not answer: `not-enabled` (it takes no part on this
   * listener), `syntax` or `authentication-required` (Haraka answers before the plugin is asked).
   */
  readonly rule: Rule | 'not-enabled' | 'syntax' | 'authentication-required'
  /** `undefined` if the domain was never looked at. */
  readonly route: Destination['kind'] | undefined
  readonly may_relay: boolean
  /** `false` if the plugin only observes; this is what it would answer if it were enforced. */
  readonly enforced: boolean
  /** For accepted recipients only. */
  readonly path: Path | undefined
  /** The hosts that the outbound queue tries, in order; none: the domain's MX hosts. */
  readonly next_hops: readonly string[]
  /** The address that an accepted recipient is delivered to. */
  readonly delivered_as: string | undefined
  /** The name of the directory that was asked; of several, the one that has it, or else all. */
  readonly directory: string | undefined
  readonly steps: readonly Step[]
}

/** The question cannot be answered; the message says why. */
export class QuestionError extends Error {}

/** On these ports, Haraka accepts MAIL only from clients that may relay or have authenticated. */
const SUBMISSION_PORTS = new Set([587, 465])

/**
 * @returns one explanation per recipient, in order
 * @throws QuestionError
 */
export async function explain(
  settings: Settings,
  lists: Pick<DirectoryLists, 'lookupIn'>,
  question: Question,
): Promise<readonly Explanation[]> {
  const session = sessionOf(settings, question)
  const refused = refusedMail(session, question)
  const { plugins = [], remembersNothing = false } = question
  const more = remembersNothing ? serverMemory(settings) : ''
  const transaction: Transaction = {
    ...session,
    lists,
    hasSeveral: settings.directories.all.length > 1,
    more,
    plugins,
    before: new AcceptedBefore(),
  }
  const explanations: Explanation[] = []
  for (const recipient of question.recipients) {
    explanations.push(
      refused
        ? { ...refused, recipient }
        : await explainRecipient(transaction, recipient, question.grammar ?? {}),
    )
  }
  return explanations
}

/** @returns address and port, or `undefined` if the text is not both */
export function parseListener(text: string): { address: string; port: number } | undefined {
  const [, ipv6, other, digits] = /^(?:\[([^\]]+)\]|(.+)):(\d{1,5})$/.exec(text.trim()) ?? []
  const address = canonicalAddress(ipv6 ?? other ?? '')
  const port = Number(digits)
  return address && port >= 1 && port <= 65535 ? { address, port } : undefined
}

interface Session {
  readonly policy: ListenerPolicy
  readonly port: number
  readonly client: Client
  /** Haraka's `connection.relaying` at the time of MAIL. */
  readonly relaying: boolean
  readonly steps: readonly Step[]
}

interface Transaction extends Session {
  readonly lists: Pick<DirectoryLists, 'lookupIn'>
  /** Whether there are several directories. */
  readonly hasSeveral: boolean
  /** What to add if the directory cannot be asked. */
  readonly more: string
  readonly plugins: readonly string[]
  readonly before: AcceptedBefore
}

function sessionOf(settings: Settings, question: Question): Session {
  const ip = parseIp(question.client.trim())
  if (!ip) throw new QuestionError(`'${question.client}' is not an IP address`)
  const listener = parseListener(question.listener)
  if (!listener) {
    throw new QuestionError(
      `'${question.listener}' is not an address and port such as 10.0.0.5:25 or [2001:db8::5]:25`,
    )
  }
  const { address, port } = listener
  const { account } = question
  const policy = policyFor(settings, address, port)
  const { restrictions } = policy
  const byAddress = trustByAddress(restrictions, ip, parseIp(address))
  const trust = trustOf(restrictions, byAddress, account)
  const steps = [listenerStep(policy, `${address}:${port}`)]
  if (policy.enabled) {
    steps.push(clientStep(trust, restrictions, { ip, client: question.client, address, account }))
  }
  if (question.sender !== undefined) steps.push(senderStep(question.sender))
  return {
    policy,
    port,
    client: { trust, authenticated: Boolean(account) },
    relaying:
      Boolean(account) || (policy.enabled && trustOf(restrictions, byAddress, undefined).mayRelay),
    steps,
  }
}

function refusedMail(session: Session, { sender, grammar }: Question): Explanation | undefined {
  const { port, relaying, steps } = session
  if (!relaying && SUBMISSION_PORTS.has(port)) {
    const text = `Haraka refuses MAIL on port ${port} before the client has authenticated, unless it may relay`
    return notOurs(session, 'authentication-required', '550 Authentication required', [
      ...steps,
      { step: 'answer', text, source: 'RFC 6409 §4.3' },
    ])
  }
  const path = parsePath('mail', sender ?? '', grammar ?? {})
  if (!('reply' in path)) return undefined
  const text = 'Haraka cannot read the sender and refuses MAIL'
  return notOurs(session, 'syntax', path.reply, [
    ...steps,
    { step: 'answer', text, source: 'RFC 5321 §4.1.2' },
  ])
}

async function explainRecipient(
  transaction: Transaction,
  recipient: string,
  grammar: EnvelopeGrammar,
): Promise<Explanation> {
  const { policy, client, relaying, steps } = transaction
  const address = parsePath('rcpt', recipient, grammar)
  if ('reply' in address) {
    const text = 'Haraka cannot read this recipient, and the plugin is not asked'
    const answer: Step = { step: 'answer', text, source: 'RFC 5321 §4.1.2' }
    return { ...notOurs(transaction, 'syntax', address.reply, [...steps, answer]), recipient }
  }
  if (!policy.enabled) {
    const reply = relaying
      ? acceptedReply(address)
      : `550 I cannot deliver mail for ${address.format()}`
    const text = 'what Haraka answers when no other plugin does: this one takes no part here'
    const answer: Step = { step: 'answer', text, source: '' }
    return { ...notOurs(transaction, 'not-enabled', reply, [...steps, answer]), recipient }
  }

  const destination = destinationOf(policy.routing, recipientOf(address.user, address.host))
  const { lookup, asked } = timed(transaction.lists)
  const { verdict, accepted } = await answerTo(
    { policy, client, lookup },
    [destination],
    transaction.before,
  )
  for (const one of accepted) transaction.before.add(one)
  return {
    recipient,
    reply: verdict.accept ? acceptedReply(address) : replyText(verdict.reply),
    code: verdict.accept ? 250 : verdict.reply.code,
    rule: verdict.rule,
    route: destination.kind,
    may_relay: client.trust.mayRelay,
    enforced: answersTo(policy, [destination]),
    path: verdict.accept ? verdict.path : undefined,
    next_hops: verdict.accept ? verdict.hops.map(({ text }) => text) : [],
    delivered_as: verdict.accept
      ? addressText(verdict.leavesAs ?? destination.recipient)
      : undefined,
    directory: asked()?.directory,
    steps: [
      addressStep(recipient, address),
      ...steps,
      ...routeSteps(policy, address, destination),
      ...directorySteps(destination, asked(), policy, transaction.hasSeveral, transaction.more),
      answerStep(verdict),
      ...deliverySteps(verdict),
      ...transaction.plugins.map((text): Step => ({ step: 'plugins', text, source: '' })),
    ],
  }
}

function notOurs(
  { client, policy, relaying }: Session,
  rule: Explanation['rule'],
  reply: string,
  steps: readonly Step[],
): Explanation {
  return {
    recipient: '',
    reply,
    code: Number(reply.slice(0, 3)),
    rule,
    route: undefined,
    may_relay: policy.enabled ? client.trust.mayRelay : relaying,
    enforced: decidesRelaying(policy),
    path: undefined,
    next_hops: [],
    delivered_as: undefined,
    directory: undefined,
    steps,
  }
}

const acceptedReply = (address: Address) => `250 recipient ${address.format()} OK`

/** Looks recipients up, and remembers each answer. */
function timed(lists: Pick<DirectoryLists, 'lookupIn'>) {
  let asked: Asked | undefined
  const lookup = async (recipient: Recipient) => {
    const start = performance.now()
    const { directory, answer } = await lists.lookupIn(recipient)
    asked = { directory, answer, milliseconds: performance.now() - start }
    return answer
  }
  return { lookup, asked: () => asked }
}

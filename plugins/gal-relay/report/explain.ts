// What would be answered to these recipients, and why? The answer is put together from the very
// functions that answer mail; here they only say each step aloud. Recipients of one question are
// recipients of one transaction.
import type { Address } from '@haraka/email-address'
import type { AddressList, GalAnswer } from '../gal/address-list'
import {
  type Client,
  concernsRelaying,
  type Destination,
  decide,
  decideListed,
  destinationOf,
  INTERNAL_ERROR,
  type Path,
  type Rule,
  type Verdict,
} from '../routing/decide'
import { entryFor, type IpAddress, type NetworkList, parseIp } from '../routing/networks'
import { addressText, recipientOf } from '../routing/recipient'
import { type Restrictions, type Trust, trustByAddress, trustOf } from '../routing/restrictions'
import { findRow } from '../routing/routes'
import { meaningOf } from '../routing/rules'
import { AcceptedBefore } from '../routing/transaction'
import {
  acceptsUnasked,
  decidesRecipients,
  decidesRelaying,
  enforcementText,
} from '../settings/enforcement'
import {
  canonicalAddress,
  type ListenerPolicy,
  policyFor,
  type Settings,
} from '../settings/settings'
import { type EnvelopeGrammar, parsePath } from './envelope'
import { replyText } from './refusal'

export interface Question {
  /** As they stand behind `RCPT TO:`; angle brackets may be left out. */
  readonly recipients: readonly string[]
  /** IP address. */
  readonly client: string
  /** Where the client connects to: `10.0.0.5:25`, `[2001:db8::5]:25`. */
  readonly listener: string
  /** The account it has authenticated as, if it has. */
  readonly account?: string
  /** As it stands behind `MAIL FROM:`; '' is the null sender. Left out: any. */
  readonly sender?: string
  readonly grammar?: EnvelopeGrammar
  /** Sentences on other plugins because of which Haraka may answer otherwise. */
  readonly plugins?: readonly string[]
  /** The list is not a running server's own, which may know more while the directory is away. */
  readonly remembersNothing?: boolean
}

export interface Step {
  readonly step:
    | 'address'
    | 'sender'
    | 'listener'
    | 'client'
    | 'route'
    | 'directory'
    | 'answer'
    | 'delivery'
    | 'plugins'
  readonly text: string
  /** Knowledge Base article or RFC section; '' when it is our own. */
  readonly source: string
}

export interface Explanation {
  /** As it was asked. */
  readonly recipient: string
  /** As the server gives it; lines separated by `\n`. */
  readonly reply: string
  readonly code: number
  /**
   * The rule that decided. Where it is not the plugin that answers: `not-enabled` (it takes no part
   * on this listener), `syntax` or `authentication-required` (Haraka answers before it is asked).
   */
  readonly rule: Rule | 'not-enabled' | 'syntax' | 'authentication-required'
  /** undefined when nobody looked at the domain. */
  readonly route: Destination['kind'] | undefined
  readonly may_relay: boolean
  /** false: the plugin only observes, and this is what it would answer if it were enforced. */
  readonly enforced: boolean
  /** Accepted recipients only. */
  readonly path: Path | undefined
  /** Where the outbound queue hands it to, in order; none: the domain's MX hosts. */
  readonly next_hops: readonly string[]
  /** The address by which an accepted recipient leaves. */
  readonly delivered_as: string | undefined
  readonly steps: readonly Step[]
}

/** What was asked cannot be answered; the message says why. */
export class QuestionError extends Error {}

/** Haraka takes MAIL on these ports from clients that relay or have authenticated, only. */
const SUBMISSION_PORTS = new Set([587, 465])

/**
 * @param list undefined when no directory is configured
 * @returns one explanation for each recipient, in order
 * @throws QuestionError
 */
export async function explain(
  settings: Settings,
  list: Pick<AddressList, 'lookup'> | undefined,
  question: Question,
): Promise<readonly Explanation[]> {
  const session = sessionOf(settings, question)
  const refused = refusedMail(session, question)
  const { plugins = [], remembersNothing = false } = question
  const more = remembersNothing ? serverMemory(settings) : ''
  const transaction: Transaction = {
    ...session,
    list,
    more,
    plugins,
    accepted: new AcceptedBefore(),
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

/** @returns address and port, or undefined when the text is not both */
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
  /** Haraka's `connection.relaying` at MAIL. */
  readonly relaying: boolean
  readonly steps: readonly Step[]
}

interface Transaction extends Session {
  readonly list: Pick<AddressList, 'lookup'> | undefined
  /** Said behind it when the directory cannot be asked. */
  readonly more: string
  readonly plugins: readonly string[]
  readonly accepted: AcceptedBefore
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
    const reply = relaying ? accepted(address) : `550 I cannot deliver mail for ${address.format()}`
    const text = 'what Haraka answers when no other plugin does: this one takes no part here'
    const answer: Step = { step: 'answer', text, source: '' }
    return { ...notOurs(transaction, 'not-enabled', reply, [...steps, answer]), recipient }
  }

  const destination = destinationOf(policy.routing, recipientOf(address.user, address.host))
  const unasked = decide(policy.routing, destination, client)
  const asked = unasked ? undefined : await ask(transaction.list, destination)
  let verdict = unasked ?? INTERNAL_ERROR
  if (asked) verdict = decideListed(destination, client, asked.answer)
  if (verdict.accept) {
    const refused = transaction.accepted.refusal(verdict, policy.mixed)
    if (refused) verdict = refused
    else transaction.accepted.add(verdict)
  }
  return {
    recipient,
    reply: verdict.accept ? accepted(address) : replyText(verdict.reply),
    code: verdict.accept ? 250 : verdict.reply.code,
    rule: verdict.rule,
    route: destination.kind,
    may_relay: client.trust.mayRelay,
    enforced:
      decidesRecipients(policy) || (decidesRelaying(policy) && concernsRelaying(destination)),
    path: verdict.accept ? verdict.path : undefined,
    next_hops: verdict.accept ? verdict.hops.map(({ text }) => text) : [],
    delivered_as: verdict.accept ? addressText(destination.recipient) : undefined,
    steps: [
      addressStep(recipient, address),
      ...steps,
      ...routeSteps(policy, address, destination),
      ...directorySteps(destination, asked, transaction.more),
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
    steps,
  }
}

const accepted = (address: Address) => `250 recipient ${address.format()} OK`

interface Asked {
  readonly answer: GalAnswer
  readonly milliseconds: number
}

async function ask(
  list: Pick<AddressList, 'lookup'> | undefined,
  { recipient }: Destination,
): Promise<Asked | undefined> {
  if (!list) return undefined
  const start = performance.now()
  const answer = await list.lookup(recipient)
  return { answer, milliseconds: performance.now() - start }
}

// ── The steps in words ───────────────────────────────────────────────────────────────────────────

function listenerStep(policy: ListenerPolicy, address: string): Step {
  const whose = policy.name === '*:*' ? 'the general settings' : `the settings of ${policy.name}`
  return { step: 'listener', text: `${address} has ${whose}${partText(policy)}`, source: '' }
}

function partText(policy: ListenerPolicy): string {
  if (!policy.enabled) return ', where enabled = false: the plugin takes no part'
  if (decidesRecipients(policy)) return ''
  const observed = decidesRelaying(policy)
    ? 'it only observes recipients of ours'
    : 'it only observes'
  const unasked = acceptsUnasked(policy)
    ? '; no other plugin accepts recipients, so that until then those at inbound, shared and ' +
      'always-relay domains are accepted without a look-up'
    : ''
  return `, where ${enforcementText(policy)}: ${observed}, and what follows is what it would answer${unasked}`
}

function senderStep(sender: string): Step {
  const text = `MAIL FROM:<${sender.replace(/^<|>$/g, '')}> plays no part in who may relay`
  return { step: 'sender', text, source: 'Q304897' }
}

interface Connected {
  readonly ip: IpAddress
  readonly client: string
  /** The local address. */
  readonly address: string
  readonly account: string | undefined
}

function clientStep(trust: Trust, restrictions: Restrictions, connected: Connected): Step {
  const { client, ip, address } = connected
  const entry = (list: NetworkList, of: IpAddress | undefined) => entryFor(list, of)?.text
  const { rule } = trust
  const step = 'client'
  switch (rule) {
    case 'reroute-off': {
      const text = `reroute = false here: ${client} may not relay, nor may anybody else`
      return { step, text, source: 'Q237927, Q256856' }
    }
    case 'never': {
      const text = `${client} is in never[] = ${entry(restrictions.never, ip)}: may not relay`
      return { step, text, source: 'Q193922' }
    }
    case 'hosts': {
      const text = `${client} is in hosts[] = ${entry(restrictions.hosts, ip)}: may relay`
      return { step, text, source: 'Q193922, Q196626' }
    }
    case 'local-addresses': {
      const local = entry(restrictions.localAddresses, parseIp(address))
      const text = `${client} connected to ${address}, in local_addresses[] = ${local}: may relay`
      return { step, text, source: 'Q193922, Q196626' }
    }
    case 'authenticated': {
      const text = `${client} has authenticated as ${connected.account}, and authenticated = true: may relay`
      return { step, text, source: 'Q193922, Q260562' }
    }
    case 'open': {
      const text = `open = true: ${client} may relay, and so may everybody else`
      return { step, text, source: 'Q193922, Q260562' }
    }
    case 'nobody':
      return { step, text: nobodyText(restrictions, connected), source: 'Q193922, Q260562' }
  }
}

function nobodyText(restrictions: Restrictions, { client, account }: Connected): string {
  const text = `${client} is in no list`
  if (!account) return `${text} and has not authenticated: may not relay`
  const why = restrictions.authenticated
    ? 'is one of never_accounts[] (Q251149)'
    : 'counts for nothing with authenticated = false'
  return `${text}, and its account ${account} ${why}: may not relay`
}

function addressStep(asked: string, address: Address): Step {
  const recipient = recipientOf(address.user, address.host)
  const route = /^<?@[^"]*?:/.test(asked) ? '; the source route before it is ignored' : ''
  const onward = recipient.routesOnward
    ? '; the local part asks for delivery somewhere else and is looked up as it stands'
    : ''
  const text = recipient.domain
    ? `local part ${recipient.local}, domain ${recipient.domain}${route}${onward}`
    : `${recipient.local} without a domain`
  const source = onward ? 'Q237927, Q244346, Q264330' : 'RFC 5321 §4.1.2'
  return { step: 'address', text, source }
}

function routeSteps(policy: ListenerPolicy, address: Address, destination: Destination): Step[] {
  const { recipient, kind, hops, row, rerouted, refused } = destination
  if (!recipient.domain) return []
  const step = 'route'
  const steps: Step[] = []
  if (rerouted) {
    const original = recipientOf(address.user, address.host)
    const as = addressText(recipient)
    const isOwn = rerouted.lastIndexOf('@') > 0
    const [whose, to] = isOwn ? [addressText(original), as] : [original.domain, recipient.domain]
    const text = `${whose} takes row ${rerouted} = reroute ${to}: decided and delivered as ${as}`
    steps.push({ step, text, source: 'Q190710' })
  }
  if (refused) {
    const text = `row ${refused} = refuse counts for clients that have neither authenticated nor may relay`
    steps.push({ step, text, source: '' })
  }
  const { domain } = recipient
  const found = findRow(policy.routing.routes, domain)
  if (row === 'host_list' && !found) {
    const text = `${domain} is in config/host_list: inbound`
    return [...steps, { step, text, source: 'Q169683' }]
  }
  if (found && kind === 'foreign') {
    const text = `${domain} has row ${found.text} = ${found.routeTo.kind}, which does not count with reroute = false: foreign`
    return [...steps, { step, text, source: 'Q237927' }]
  }
  if (row !== undefined) {
    const whose = row.lastIndexOf('@') > 0 ? addressText(recipient) : domain
    const to = [kind, ...hops.map(({ text }) => text)].join(' ')
    return [...steps, { step, text: `${whose} takes row ${row} = ${to}`, source: ROUTES }]
  }
  const text = `${domain} takes no row and is not in host_list: foreign`
  return [...steps, { step, text, source: ROUTES }]
}

const ROUTES = 'Q169683, Q217217, Q259531'

function directorySteps(
  { recipient }: Destination,
  asked: Asked | undefined,
  more: string,
): Step[] {
  if (!asked) return []
  const { answer, milliseconds } = asked
  const step = 'directory'
  const address = addressText(recipient)
  const took = `(${milliseconds.toFixed(1)} ms)`
  switch (answer.state) {
    case 'found': {
      const only = answer.authenticatedOnly
        ? ', and takes mail from authenticated or relaying clients only'
        : ''
      return [{ step, text: `${address} is in the directory${only} ${took}`, source: 'Q255695' }]
    }
    case 'absent':
      return [{ step, text: `${address} is not in the directory ${took}`, source: 'Q255695' }]
    case 'unavailable':
      return [{ step, text: `${answer.reason} ${took}${more}`, source: 'RFC 3463 §3.5' }]
  }
}

function serverMemory({ gal }: Settings): string {
  const snapshot = gal.mode === 'snapshot' ? 'have it in its snapshot, or ' : ''
  return `; a running server may ${snapshot}remember an answer (cache_stale)`
}

function answerStep({ rule }: Verdict): Step {
  const { meaning, source } = meaningOf(rule)
  return { step: 'answer', text: `${rule}: ${meaning}`, source }
}

function deliverySteps(verdict: Verdict): Step[] {
  if (!verdict.accept) return []
  if (verdict.path === 'queue') {
    return [{ step: 'delivery', text: "goes to the install's queue plugins", source: 'Q255695' }]
  }
  const hops = verdict.hops.map(({ text }) => text).join(', then ')
  const text = `goes to the outbound queue, for ${hops || "the domain's MX hosts"}`
  return [{ step: 'delivery', text, source: hops ? 'Q190710, Q258203' : 'RFC 5321 §5.1' }]
}

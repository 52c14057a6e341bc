// What one process has counted since it started: plain integers, so that an answer costs next to
// nothing more for being counted. Metrics and the status page are made from these when asked for.
import type { Rule, Verdict } from '../routing/decide'
import type { Refusal, Sender } from './refusal'
import { type Counted, Tally } from './tally'

/** Whether the verdict was the answer, or only what the answer would have been. */
export type Mode = 'enforce' | 'observe'

/** What an answer to RCPT means to the sender: 2xx, 5xx or 4xx. */
export type Outcome = 'accepted' | 'refused' | 'deferred'

export function outcomeOf(code: number): Outcome {
  if (code < 400) return 'accepted'
  return code < 500 ? 'deferred' : 'refused'
}

/** Verdicts with the same listener, mode and rule. */
export interface AnswerCount {
  readonly listener: string
  readonly mode: Mode
  readonly rule: Rule
  readonly code: number
  count: number
}

/** Recipients on an observed listener whose answer differed from the verdict. */
export interface DifferenceCount {
  readonly listener: string
  readonly rule: Rule
  readonly verdict: Outcome
  readonly answer: Outcome
  count: number
}

/** Recipients on an observed listener whose client did not wait for the answer. */
export interface UnansweredCount {
  readonly listener: string
  readonly verdict: Outcome
  count: number
}

/** Verdicts within one minute, counted from 1970. */
export interface Minute {
  readonly minute: number
  accepted: number
  refused: number
  deferred: number
}

export interface RecentRefusal extends Refusal {
  /** Milliseconds since 1970. */
  readonly at: number
}

/** What was answered differently on an observed listener; `reply` is the verdict's. */
export interface RecentDifference extends RecentRefusal {
  readonly verdict: Outcome
  readonly answer: Outcome
}

/** Refused for good, most frequent first. */
export interface RefusedMost {
  /** In lower case. */
  readonly recipients: readonly Counted[]
  readonly clients: readonly Counted[]
  /** In lower case; `<>` for bounces. */
  readonly senderDomains: readonly Counted[]
}

/** A recipient whose verdict was a refusal, or would have been another answer than Haraka's. */
export interface CountedRefusal {
  readonly sender: Sender
  readonly rule: string
  readonly reply: string
  /** Only where the plugin observes. */
  readonly answered?: string
  readonly recipient: string
}

const MINUTE = 60_000
export const MINUTES = 60
export const REFUSALS = 200
/** Names of each kind that are reported. */
export const REFUSED_MOST = 50
/** Names of each kind that are counted at a time. */
const NAMES_MOST = 1000

/** Everything but what is recent only ever grows, for as long as the process lives. */
export interface CountsReport {
  readonly answers: readonly Readonly<AnswerCount>[]
  readonly differences: readonly Readonly<DifferenceCount>[]
  readonly unanswered: readonly Readonly<UnansweredCount>[]
  /** Exceptions that a hook caught. */
  readonly errors: number
  /** The last of them, milliseconds since 1970. */
  readonly failedAt: number | undefined
  /** The last {@link MINUTES} in which something was answered, oldest first. */
  readonly minutes: readonly Readonly<Minute>[]
  /** The last {@link REFUSALS} of those that were kept, oldest first. */
  readonly refusals: readonly RecentRefusal[]
  /** The same of answers that differed. */
  readonly recentDifferences: readonly RecentDifference[]
  readonly refusedMost: Readonly<Record<Mode, RefusedMost>>
}

type AnswersByRule = Map<Rule, AnswerCount>

export class Counts {
  readonly #answers: Record<Mode, Map<string, AnswersByRule>> = {
    enforce: new Map(),
    observe: new Map(),
  }
  // Of the listener and mode that answered last.
  #listener = ''
  #mode: Mode | undefined
  #rules: AnswersByRule = new Map()
  readonly #differences = new Map<string, DifferenceCount>()
  readonly #minutes: Minute[] = []
  #minute: Minute = { minute: 0, accepted: 0, refused: 0, deferred: 0 }
  #minuteEnds = 0
  readonly #unanswered = new Map<string, UnansweredCount>()
  readonly #recent: RecentRefusal[] = []
  readonly #recentDifferences: RecentDifference[] = []
  readonly #refusedMost: Record<Mode, RefusedTallies> = {
    enforce: refusedTallies(),
    observe: refusedTallies(),
  }
  readonly #keepsRefusals: () => boolean
  #errors = 0
  #failedAt: number | undefined

  /** @param keepsRefusals whether somebody may look at the last ones: kept for nobody, they cost as much */
  constructor(keepsRefusals: () => boolean = () => true) {
    this.#keepsRefusals = keepsRefusals
  }

  /** @param listener the name of its policy */
  answered(listener: string, mode: Mode, verdict: Verdict): void {
    const code = verdict.accept ? 250 : verdict.reply.code
    if (listener !== this.#listener || mode !== this.#mode) this.#turnTo(listener, mode)
    const known = this.#rules.get(verdict.rule)
    if (known) known.count++
    else this.#rules.set(verdict.rule, { listener, mode, rule: verdict.rule, code, count: 1 })
    const now = Date.now()
    if (now >= this.#minuteEnds || now < this.#minuteEnds - MINUTE) this.#newMinute(now)
    this.#minute[outcomeOf(code)]++
  }

  /** An exception that a hook caught. */
  failed(): void {
    this.#errors++
    this.#failedAt = Date.now()
  }

  /** @param seen the recipient, for the page */
  differed(
    listener: string,
    rule: Rule,
    verdict: Outcome,
    answer: Outcome,
    seen: CountedRefusal,
  ): void {
    const key = `${listener} ${rule} ${answer}`
    const known = this.#differences.get(key)
    if (known) known.count++
    else this.#differences.set(key, { listener, rule, verdict, answer, count: 1 })
    if (!this.#keepsRefusals()) return
    keep(this.#recentDifferences, { ...recentOf(seen), verdict, answer })
  }

  /** On an observed listener: the client was gone before it had an answer. */
  unanswered(listener: string, verdict: Outcome): void {
    const key = `${listener} ${verdict}`
    const known = this.#unanswered.get(key)
    if (known) known.count++
    else this.#unanswered.set(key, { listener, verdict, count: 1 })
  }

  /** Refused or deferred. */
  refused(refusal: CountedRefusal): void {
    if (!this.#keepsRefusals()) return
    const { sender, reply, answered, recipient } = refusal
    keep(this.#recent, recentOf(refusal))
    if (!reply.startsWith('5')) return
    const mode = answered === undefined ? 'enforce' : 'observe'
    const { recipients, clients, senderDomains } = this.#refusedMost[mode]
    recipients.add(recipient.toLowerCase())
    clients.add(sender.client)
    senderDomains.add(domainOf(sender.sender))
  }

  report(): CountsReport {
    return {
      answers: Object.values(this.#answers).flatMap((listeners) =>
        [...listeners.values()].flatMap((rules) => [...rules.values()]),
      ),
      differences: [...this.#differences.values()],
      unanswered: [...this.#unanswered.values()],
      errors: this.#errors,
      failedAt: this.#failedAt,
      minutes: this.#minutes,
      refusals: [...this.#recent],
      recentDifferences: [...this.#recentDifferences],
      refusedMost: {
        enforce: mostOf(this.#refusedMost.enforce),
        observe: mostOf(this.#refusedMost.observe),
      },
    }
  }

  #turnTo(listener: string, mode: Mode): void {
    this.#listener = listener
    this.#mode = mode
    this.#rules = this.#answers[mode].get(listener) ?? new Map()
    this.#answers[mode].set(listener, this.#rules)
  }

  #newMinute(now: number): void {
    const minute = Math.floor(now / MINUTE)
    this.#minuteEnds = (minute + 1) * MINUTE
    this.#minute = { minute, accepted: 0, refused: 0, deferred: 0 }
    this.#minutes.push(this.#minute)
    if (this.#minutes.length > MINUTES) this.#minutes.shift()
  }
}

type RefusedTallies = Readonly<Record<keyof RefusedMost, Tally>>

const refusedTallies = (): RefusedTallies => ({
  recipients: new Tally(NAMES_MOST),
  clients: new Tally(NAMES_MOST),
  senderDomains: new Tally(NAMES_MOST),
})

const mostOf = ({ recipients, clients, senderDomains }: RefusedTallies): RefusedMost => ({
  recipients: recipients.largest(REFUSED_MOST),
  clients: clients.largest(REFUSED_MOST),
  senderDomains: senderDomains.largest(REFUSED_MOST),
})

/** The most frequent of several processes together; each names its own most frequent ones. */
export function mergeMost(all: readonly RefusedMost[]): RefusedMost {
  const tallies = refusedTallies()
  for (const most of all) {
    for (const kind of ['recipients', 'clients', 'senderDomains'] as const) {
      for (const { name, count } of most[kind]) tallies[kind].add(name, count)
    }
  }
  return mostOf(tallies)
}

/** Field by field: what spreads one object over another here takes longer than the decision. */
function recentOf({
  sender: from,
  rule,
  reply,
  answered,
  recipient,
}: CountedRefusal): RecentRefusal {
  const { client, host, helo, account, sender, listener } = from
  const at = Date.now()
  return answered === undefined
    ? { client, host, helo, account, sender, listener, recipient, rule, reply, at }
    : { client, host, helo, account, sender, listener, recipient, rule, reply, answered, at }
}

function domainOf(sender: string): string {
  return sender === '' ? '<>' : sender.slice(sender.lastIndexOf('@') + 1).toLowerCase()
}

function keep<T>(recent: T[], one: T): void {
  recent.push(one)
  if (recent.length > REFUSALS) recent.shift()
}

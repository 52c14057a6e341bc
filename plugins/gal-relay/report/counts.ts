// What one process has counted since it started: plain integers, so that an answer costs next to
// nothing more for being counted. Metrics and the status page are made from these when asked for.
import type { Rule, Verdict } from '../routing/decide'
import type { Refusal, Sender } from './refusal'

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

/** Recipients whom Haraka answered otherwise than the verdict on an observed listener. */
export interface DifferenceCount {
  readonly listener: string
  readonly rule: Rule
  readonly verdict: Outcome
  readonly answer: Outcome
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

export const MINUTES = 60
export const REFUSALS = 200

/** Everything but the refusals only ever grows, for as long as the process lives. */
export interface CountsReport {
  readonly answers: readonly Readonly<AnswerCount>[]
  readonly differences: readonly Readonly<DifferenceCount>[]
  /** Exceptions that a hook caught. */
  readonly errors: number
  /** The last {@link MINUTES} in which something was answered, oldest first. */
  readonly minutes: readonly Readonly<Minute>[]
  /** The last {@link REFUSALS}, oldest first. */
  readonly refusals: readonly RecentRefusal[]
}

/** As it is when nobody looks at it. */
interface KeptRefusal extends Omit<RecentRefusal, keyof Sender> {
  readonly sender: Sender
}

type AnswersByRule = Map<Rule, AnswerCount>

export class Counts {
  readonly #answers: Record<Mode, Map<string, AnswersByRule>> = {
    enforce: new Map(),
    observe: new Map(),
  }
  readonly #differences = new Map<string, DifferenceCount>()
  readonly #minutes: Minute[] = []
  #minute: Minute = { minute: 0, accepted: 0, refused: 0, deferred: 0 }
  readonly #refusals: KeptRefusal[] = []
  #oldest = 0
  errors = 0

  /** @param listener the name of its policy */
  answered(listener: string, mode: Mode, verdict: Verdict): void {
    const code = verdict.accept ? 250 : verdict.reply.code
    const rules = this.#answers[mode].get(listener) ?? this.#newListener(listener, mode)
    const known = rules.get(verdict.rule)
    if (known) known.count++
    else rules.set(verdict.rule, { listener, mode, rule: verdict.rule, code, count: 1 })
    const minute = Math.floor(Date.now() / 60_000)
    if (minute !== this.#minute.minute) this.#newMinute(minute)
    this.#minute[outcomeOf(code)]++
  }

  differed(listener: string, rule: Rule, verdict: Outcome, answer: Outcome): void {
    const key = `${listener} ${rule} ${answer}`
    const known = this.#differences.get(key)
    if (known) known.count++
    else this.#differences.set(key, { listener, rule, verdict, answer, count: 1 })
  }

  /** @param answered only where the plugin observes */
  refused(sender: Sender, recipient: string, rule: string, reply: string, answered?: string): void {
    const recent = { at: Date.now(), sender, recipient, rule, reply, answered }
    if (this.#refusals.length < REFUSALS) this.#refusals.push(recent)
    else {
      this.#refusals[this.#oldest] = recent
      this.#oldest = (this.#oldest + 1) % REFUSALS
    }
  }

  report(): CountsReport {
    return {
      answers: Object.values(this.#answers).flatMap((listeners) =>
        [...listeners.values()].flatMap((rules) => [...rules.values()]),
      ),
      differences: [...this.#differences.values()],
      errors: this.errors,
      minutes: this.#minutes,
      refusals: [
        ...this.#refusals.slice(this.#oldest),
        ...this.#refusals.slice(0, this.#oldest),
      ].map(recentRefusal),
    }
  }

  #newListener(listener: string, mode: Mode): AnswersByRule {
    const rules: AnswersByRule = new Map()
    this.#answers[mode].set(listener, rules)
    return rules
  }

  #newMinute(minute: number): void {
    this.#minute = { minute, accepted: 0, refused: 0, deferred: 0 }
    this.#minutes.push(this.#minute)
    if (this.#minutes.length > MINUTES) this.#minutes.shift()
  }
}

function recentRefusal({ sender, answered, ...refusal }: KeptRefusal): RecentRefusal {
  return { ...sender, ...refusal, ...(answered === undefined ? {} : { answered }) }
}

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

/** Recipients on an observed listener whose answer differed from the verdict. */
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

/** What was refused, as it is counted. */
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

/** Everything but the refusals only ever grows, for as long as the process lives. */
export interface CountsReport {
  readonly answers: readonly Readonly<AnswerCount>[]
  readonly differences: readonly Readonly<DifferenceCount>[]
  /** Exceptions that a hook caught. */
  readonly errors: number
  /** The last {@link MINUTES} in which something was answered, oldest first. */
  readonly minutes: readonly Readonly<Minute>[]
  /** The last {@link REFUSALS} of those that were kept, oldest first. */
  readonly refusals: readonly RecentRefusal[]
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
  readonly #recent: RecentRefusal[] = []
  readonly #keepsRefusals: () => boolean
  errors = 0

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

  differed(listener: string, rule: Rule, verdict: Outcome, answer: Outcome): void {
    const key = `${listener} ${rule} ${answer}`
    const known = this.#differences.get(key)
    if (known) known.count++
    else this.#differences.set(key, { listener, rule, verdict, answer, count: 1 })
  }

  refused({ sender, ...refusal }: CountedRefusal): void {
    if (!this.#keepsRefusals()) return
    this.#recent.push({ ...sender, ...refusal, at: Date.now() })
    if (this.#recent.length > REFUSALS) this.#recent.shift()
  }

  report(): CountsReport {
    return {
      answers: Object.values(this.#answers).flatMap((listeners) =>
        [...listeners.values()].flatMap((rules) => [...rules.values()]),
      ),
      differences: [...this.#differences.values()],
      errors: this.errors,
      minutes: this.#minutes,
      refusals: [...this.#recent],
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

// Observing a listener: for each recipient there is what the plugin would have answered, which may
// come late because nobody waits for the directory, and what Haraka did answer, which is known once
// the next command has come. Here the two meet.
import type { Verdict } from '../routing/decide'
import { AcceptedBefore } from '../routing/transaction'
import { type Outcome, outcomeOf } from './counts'

/** What Haraka answered to a recipient. */
export interface Given {
  readonly outcome: Outcome
  /** As far as Haraka keeps it. */
  readonly reply: string
}

export interface Observed {
  readonly verdict: Verdict
  /** undefined when the client was gone before it had an answer */
  readonly given: Given | undefined
}

export const outcomeOfVerdict = (verdict: Verdict): Outcome =>
  verdict.accept ? 'accepted' : outcomeOf(verdict.reply.code)

/** The recipients of one transaction on a listener that is observed. */
export class ObservedTransaction {
  #last: Promise<unknown> = Promise.resolve()
  readonly #accepted = new AcceptedBefore()
  #waiting: { readonly number: number; readonly settle: (given: Given | undefined) => void }[] = []

  /**
   * @param number how many recipients of the transaction Haraka had answered before
   * @param mixed `[routing] mixed` of the listener
   * @returns once both are known; rejects when the verdict does
   */
  async add(
    number: number,
    mixed: 'split' | 'defer',
    verdict: Verdict | Promise<Verdict>,
  ): Promise<Observed> {
    const given = new Promise<Given | undefined>((settle) => {
      this.#waiting.push({ number, settle })
    })
    // Whether a recipient is the second kind in its transaction depends on those before it.
    const inTurn = Promise.all([verdict, this.#last]).then(([own]) => this.#amongOthers(own, mixed))
    this.#last = inTurn.catch(() => {})
    return { verdict: await inTurn, given: await given }
  }

  /**
   * @param answers Haraka's to the transaction's recipients so far, in order; only those that are waited
   *   for are looked at: this is called for each recipient
   */
  answered(answers: readonly Haraka.RecipientResult[]): void {
    this.#waiting = this.#waiting.filter(({ number, settle }) => {
      const answer = answers[number]
      if (answer) settle(givenBy(answer))
      return !answer
    })
  }

  /** No further answer will come. */
  end(): void {
    for (const { settle } of this.#waiting.splice(0)) settle(undefined)
  }

  #amongOthers(verdict: Verdict, mixed: 'split' | 'defer'): Verdict {
    if (!verdict.accept) return verdict
    const refused = this.#accepted.refusal(verdict, mixed)
    if (!refused) this.#accepted.add(verdict)
    return refused ?? verdict
  }
}

function givenBy({ action, code, msg }: Haraka.RecipientResult): Given {
  if (action === 'accept') return { outcome: 'accepted', reply: '250' }
  const refused = action === 'reject'
  const number = typeof code === 'number' ? code : refused ? 550 : 450
  return { outcome: refused ? 'refused' : 'deferred', reply: `${number} ${msg ?? ''}`.trim() }
}

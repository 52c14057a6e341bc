// Observing a listener. For each recipient this pairs the plugin's answer, which may come late because nobody
// waits for the directory, with Haraka's answer, which is known once the next command has come.
import type { Answer } from '../routing/answer'
import type { Verdict } from '../routing/decide'
import { AcceptedBefore } from '../routing/transaction'
import { type Outcome, outcomeOf } from './counts'

/** Haraka's answer to a recipient. */
export interface Given {
  readonly outcome: Outcome
  /** As far as Haraka records it. */
  readonly reply: string
}

export interface Observed {
  readonly verdict: Verdict
  /** undefined if the client disconnected before it was answered */
  readonly given: Given | undefined
}

export const outcomeOfVerdict = (verdict: Verdict): Outcome =>
  verdict.accept ? 'accepted' : outcomeOf(verdict.reply.code)

/** The recipients of one transaction on an observed listener. */
export class ObservedTransaction {
  /** Recipients that would have been accepted. Later answers depend on them. */
  #accepted = Promise.resolve(new AcceptedBefore())
  #waiting: { readonly number: number; readonly settle: (given: Given | undefined) => void }[] = []

  /**
   * @param number of recipients that Haraka had answered before in this transaction
   * @param answer returns the plugin's answer, given the recipients accepted before
   * @returns once both answers are known; rejects if `answer` does
   */
  async add(
    number: number,
    answer: (before: Promise<AcceptedBefore>) => Answer | Promise<Answer>,
  ): Promise<Observed> {
    const given = new Promise<Given | undefined>((settle) => {
      this.#waiting.push({ number, settle })
    })
    const before = this.#accepted
    const answered = (async () => answer(before))()
    this.#accepted = before.then(async (accepted) => {
      const { accepted: others } = await answered.catch(() => NOTHING)
      for (const one of others) accepted.add(one)
      return accepted
    })
    return { verdict: (await answered).verdict, given: await given }
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
}

const NOTHING: Pick<Answer, 'accepted'> = { accepted: [] }

function givenBy({ action, code, msg }: Haraka.RecipientResult): Given {
  if (action === 'accept') return { outcome: 'accepted', reply: '250' }
  const refused = action === 'reject'
  const number = typeof code === 'number' ? code : refused ? 550 : 450
  return { outcome: refused ? 'refused' : 'deferred', reply: `${number} ${msg ?? ''}`.trim() }
}

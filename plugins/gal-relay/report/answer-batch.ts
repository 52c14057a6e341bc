// Answers come by the thousand. Each is counted, and each refusal has a line in the log and a place on
// the status page; that is done some milliseconds later, for all of them together. One by one, in
// between all that Haraka does for a recipient, it takes several times as long, and each write to
// standard output longer than all the rest.
import type { Refused, Verdict } from '../routing/decide'
import type { Counts } from './counts'
import type { RefusalFields } from './refusal'

const LATER = 10

export interface LineWriter {
  /** Whether a time stands before each line; {@link write} puts it before the first that it is given. */
  readonly timestamps: boolean
  /** @param lines without the last one's end */
  write(lines: string): void
}

interface ToldRefusal {
  readonly fields: RefusalFields
  readonly recipient: string
  readonly verdict: Refused
  readonly reply: string
  readonly isLogged: boolean
}

export class AnswerBatch {
  readonly #counts: Counts
  readonly #writer: LineWriter
  // One behind the other: listener, verdict, listener, verdict …
  #answers: (string | Verdict)[] = []
  #refusals: ToldRefusal[] = []

  constructor(counts: Counts, writer: LineWriter) {
    this.#counts = counts
    this.#writer = writer
    process.once('exit', () => this.flush())
  }

  /** @param listener the name of its policy */
  accepted(listener: string, verdict: Verdict): void {
    if (this.#answers.push(listener, verdict) === 2) setTimeout(() => this.flush(), LATER)
  }

  /** @param isLogged its line is written here */
  refused(
    listener: string,
    verdict: Refused,
    fields: RefusalFields,
    recipient: string,
    reply: string,
    isLogged: boolean,
  ): void {
    this.accepted(listener, verdict)
    this.#refusals.push({ fields, recipient, verdict, reply, isLogged })
  }

  /** Whoever reads the counts calls this first. */
  flush(): void {
    const answers = this.#answers
    const refusals = this.#refusals
    this.#answers = []
    this.#refusals = []
    for (let i = 0; i < answers.length; i += 2) {
      this.#counts.answered(answers[i] as string, 'enforce', answers[i + 1] as Verdict)
    }
    const lines: string[] = []
    for (const { fields, recipient, verdict, reply, isLogged } of refusals) {
      this.#counts.refused(fields.sender, recipient, verdict.rule, reply)
      if (isLogged) lines.push(fields.of(recipient, verdict.rule, reply))
    }
    if (lines.length === 0) return
    const time = this.#writer.timestamps ? `${new Date().toISOString()} ` : ''
    this.#writer.write(lines.join(`\n${time}`))
  }
}

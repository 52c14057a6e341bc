// Answers come by the thousand. Each is counted, and each refusal has a line in the log and a place on
// the status page; that is done some milliseconds later, for all of them together. One by one, in
// between all that Haraka does for a recipient, it takes several times as long, and each write to
// standard output longer than all the rest.
import type { Refused, Verdict } from '../routing/decide'
import type { Counts } from './counts'
import type { RefusalFields } from './refusal'

/** Milliseconds. Each time costs the same, however few the lines are. */
const LATER = 50

export interface LineWriter {
  /** Whether a time stands before each line; {@link write} puts it before the first that it is given. */
  readonly timestamps: boolean
  /** @param lines without the last one's end */
  write(lines: string): void
}

interface Accepted {
  readonly listener: string
  readonly verdict: Verdict
  count: number
}

interface ToldRefusal {
  readonly listener: string
  readonly verdict: Refused
  readonly fields: RefusalFields
  readonly recipient: string
  readonly reply: string
  readonly isLogged: boolean
}

export class AnswerBatch {
  readonly #counts: Counts
  readonly #writer: LineWriter
  #accepted: Accepted[] = []
  #lastAccepted: Accepted | undefined
  #refused: ToldRefusal[] = []
  #isDue = false

  constructor(counts: Counts, writer: LineWriter) {
    this.#counts = counts
    this.#writer = writer
    process.once('exit', () => this.flush())
  }

  /** @param listener the name of its policy */
  accepted(listener: string, verdict: Verdict): void {
    const last = this.#lastAccepted
    if (last && last.verdict === verdict && last.listener === listener) {
      last.count++
      return
    }
    this.#lastAccepted = { listener, verdict, count: 1 }
    this.#accepted.push(this.#lastAccepted)
    if (!this.#isDue) this.#flushLater()
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
    this.#refused.push({ listener, verdict, fields, recipient, reply, isLogged })
    if (!this.#isDue) this.#flushLater()
  }

  /** Whoever reads the counts calls this first. */
  flush(): void {
    const accepted = this.#accepted
    const refused = this.#refused
    this.#accepted = []
    this.#lastAccepted = undefined
    this.#refused = []
    const counts = this.#counts
    for (const { listener, verdict, count } of accepted) {
      counts.answered(listener, 'enforce', verdict, count)
    }
    const lines: string[] = []
    for (const { listener, verdict, fields, recipient, reply, isLogged } of refused) {
      counts.answered(listener, 'enforce', verdict)
      counts.refused(fields.sender, recipient, verdict.rule, reply)
      if (isLogged) lines.push(fields.of(recipient, verdict.rule, reply))
    }
    if (lines.length === 0) return
    const time = this.#writer.timestamps ? `${new Date().toISOString()} ` : ''
    this.#writer.write(lines.join(`\n${time}`))
  }

  #flushLater(): void {
    this.#isDue = true
    setTimeout(() => {
      this.#isDue = false
      this.flush()
    }, LATER)
  }
}

// Answers come by the thousand. Each is counted, and each refusal has a line in the log and a place on
// the status page; that is done some milliseconds later, for all of them together. One by one, in
// between all that Haraka does for a recipient, it takes several times as long, and each write to
// standard output longer than all the rest. Meanwhile the refusals of one transaction are gathered: those
// of two may change places in the log, those of one do not.
import { guard, later } from '../guard'
import type { Refused, Verdict } from '../routing/decide'
import type { Counts } from './counts'
import { type RefusalFields, replyText, type WaitingRefusals } from './refusal'

/** Milliseconds. Each time costs the same, however few the lines are. */
const LATER = 50
/** Refusals. More are told sooner: what has no room in the pipe that the log is written to is waited for. */
const TOGETHER = 200

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

export class AnswerBatch {
  readonly #counts: Counts
  readonly #writer: LineWriter
  #accepted: Accepted[] = []
  #lastAccepted: Accepted | undefined
  #refused: WaitingRefusals[] = []
  /** How many recipients they have. */
  #count = 0
  #isDue = false

  constructor(counts: Counts, writer: LineWriter) {
    this.#counts = counts
    this.#writer = writer
    process.once(
      'exit',
      guard('answers at the end of the process', () => this.flush()),
    )
  }

  /** @param listener the name of its policy */
  accepted(listener: string, verdict: Verdict): void {
    const last = this.#lastAccepted
    if (last && last.verdict.rule === verdict.rule && last.listener === listener) {
      last.count++
      return
    }
    this.#lastAccepted = { listener, verdict, count: 1 }
    this.#accepted.push(this.#lastAccepted)
    if (!this.#isDue) this.#flushLater()
  }

  /**
   * @param listener the name of its policy
   * @param isLogged its line is written here
   */
  refused(
    from: RefusalFields,
    listener: string,
    verdict: Refused,
    isLogged: boolean,
    recipient: string,
  ): void {
    const { waiting } = from
    if (
      waiting &&
      waiting.verdict.rule === verdict.rule &&
      waiting.verdict.reply === verdict.reply &&
      waiting.isLogged === isLogged
    ) {
      waiting.recipients.push(recipient)
    } else {
      from.waiting = { from, listener, verdict, isLogged, recipients: [recipient] }
      this.#refused.push(from.waiting)
      if (!this.#isDue) this.#flushLater()
    }
    if (++this.#count === TOGETHER) this.flush()
  }

  /** Whoever reads the counts calls this first. */
  flush(): void {
    const accepted = this.#accepted
    const refused = this.#refused
    this.#accepted = []
    this.#lastAccepted = undefined
    this.#refused = []
    this.#count = 0
    for (const { listener, verdict, count } of accepted) {
      this.#counts.answered(listener, 'enforce', verdict, count)
    }
    const end = this.#writer.timestamps ? `\n${new Date().toISOString()} ` : '\n'
    const pieces: string[] = []
    for (const { from, listener, verdict, isLogged, recipients } of refused) {
      from.waiting = undefined
      const { rule } = verdict
      const reply = replyText(verdict.reply)
      this.#counts.answered(listener, 'enforce', verdict, recipients.length)
      this.#counts.refused({ sender: from.sender, rule, reply, recipients })
      if (isLogged) from.addLines(pieces, recipients, rule, reply, end)
    }
    if (pieces.length > 0) this.#writer.write(pieces.join(''))
  }

  #flushLater(): void {
    this.#isDue = true
    const due = () => {
      this.#isDue = false
      this.flush()
    }
    later(LATER, 'counting and logging answers', due, due)
  }
}

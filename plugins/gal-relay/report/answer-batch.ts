// Answers come by the thousand. Each is counted, and each refusal has a line in the log and a place on
// the status page; that is done some milliseconds later, for all of them together. One by one, in
// between all that Haraka does for a recipient, it takes several times as long, and each write to
// standard output longer than all the rest.
import type { Refused, Verdict } from '../routing/decide'
import type { AlikeRefusals, Counts } from './counts'
import { isWord, quoted, type RefusalFields } from './refusal'
import { visible } from './visible'

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

interface Refusals extends AlikeRefusals {
  readonly listener: string
  readonly verdict: Refused
  readonly isLogged: boolean
  /** The recipients stand in the log as they are. */
  readonly areWords: boolean
  readonly from: RefusalFields[]
  readonly recipients: string[]
}

export class AnswerBatch {
  readonly #counts: Counts
  readonly #writer: LineWriter
  #accepted: Accepted[] = []
  #lastAccepted: Accepted | undefined
  #refused: Refusals[] = []
  #lastRefused: Refusals | undefined
  #isDue = false

  constructor(counts: Counts, writer: LineWriter) {
    this.#counts = counts
    this.#writer = writer
    process.once('exit', () => this.flush())
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

  /** @param isLogged its line is written here */
  refused(
    listener: string,
    verdict: Refused,
    fields: RefusalFields,
    recipient: string,
    reply: string,
    isLogged: boolean,
  ): void {
    const last = this.#lastRefused
    const areWords = isWord(recipient)
    const { rule } = verdict
    if (
      last &&
      last.rule === rule &&
      last.listener === listener &&
      last.reply === reply &&
      last.isLogged === isLogged &&
      last.areWords === areWords
    ) {
      last.from.push(fields)
      last.recipients.push(recipient)
      return
    }
    const alike = { listener, verdict, rule, reply, isLogged, areWords }
    this.#lastRefused = { ...alike, from: [fields], recipients: [recipient] }
    this.#refused.push(this.#lastRefused)
    if (!this.#isDue) this.#flushLater()
  }

  /** Whoever reads the counts calls this first. */
  flush(): void {
    const accepted = this.#accepted
    const refused = this.#refused
    this.#accepted = []
    this.#lastAccepted = undefined
    this.#refused = []
    this.#lastRefused = undefined
    for (const { listener, verdict, count } of accepted) {
      this.#counts.answered(listener, 'enforce', verdict, count)
    }
    for (const refusals of refused) {
      this.#counts.answered(
        refusals.listener,
        'enforce',
        refusals.verdict,
        refusals.recipients.length,
      )
      this.#counts.refused(refusals)
    }
    const logged = refused.filter(({ isLogged }) => isLogged)
    if (logged.length > 0) this.#write(logged)
  }

  #write(logged: readonly Refusals[]): void {
    const end = this.#writer.timestamps ? `\n${new Date().toISOString()} ` : '\n'
    const pieces: string[] = []
    for (const { rule, reply, areWords, from, recipients } of logged) {
      for (let i = 0; i < recipients.length; i++) {
        const recipient = recipients[i] as string
        if (pieces.length > 0) pieces.push(end)
        from[i]?.addTo(pieces, areWords ? recipient : quoted(visible(recipient)), rule, reply)
      }
    }
    this.#writer.write(pieces.join(''))
  }

  #flushLater(): void {
    this.#isDue = true
    setTimeout(() => {
      this.#isDue = false
      this.flush()
    }, LATER)
  }
}

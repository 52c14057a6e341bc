// Answers come by the thousand. Each is counted, and each refusal has a line in the log and a place on
// the status page; that is done some milliseconds later, for all of them together. One by one, in
// between all that Haraka does for a recipient, it takes several times as long, and each write to
// standard output longer than all the rest.
import type { Refused, Verdict } from '../routing/decide'
import type { AlikeRefusals, Counts } from './counts'
import { asField, isWord, type RefusalFields } from './refusal'

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

/** What refusals that are told together have in common. */
export interface Alike {
  /** The name of its policy. */
  readonly listener: string
  readonly verdict: Refused
  readonly reply: string
  /** Its line is written here. */
  readonly isLogged: boolean
}

interface Refusals extends Alike, AlikeRefusals {
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

  refused(alike: Alike, from: RefusalFields, recipient: string): void {
    const last = this.#lastRefused
    if (last && areAlike(last, alike)) {
      last.from.push(from)
      last.recipients.push(recipient)
      return
    }
    const { rule } = alike.verdict
    this.#lastRefused = { ...alike, rule, from: [from], recipients: [recipient] }
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
    for (const { rule, reply, from, recipients } of logged) {
      // Looked at all at once: each of Haraka's addresses is a sum, to be put together for a look.
      const areWords = isWord(recipients.join('')) && !recipients.includes('')
      for (let i = 0; i < recipients.length; i++) {
        const recipient = recipients[i] as string
        if (pieces.length > 0) pieces.push(end)
        from[i]?.addTo(pieces, areWords ? recipient : asField(recipient), rule, reply)
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

function areAlike(one: Alike, other: Alike): boolean {
  return (
    one.verdict.rule === other.verdict.rule &&
    one.listener === other.listener &&
    one.reply === other.reply &&
    one.isLogged === other.isLogged
  )
}

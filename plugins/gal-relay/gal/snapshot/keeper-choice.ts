// Which of a server's workers keeps the list: the master gives it to one, and to another when that one
// ends or stands still. A worker asks once a second, which is its sign of life as well. A server that is
// one process has nobody to ask; several servers keep a list each, in files of their own.
import cluster, { type Worker } from 'node:cluster'
import { every, guard } from '../../guard'

const TICK = 1000
/** Seconds without a word, after which a worker stands still. Its child has ended before (sync-process.ts). */
const SILENCE = 7
/** So many questions without an answer show that the master is of a release that knows none. */
const UNANSWERED = 10

/** Messages between the processes; `event` is how Haraka's own are told apart too. */
type Question = {
  readonly event: 'gal-relay: list wanted' | 'gal-relay: list given up'
  readonly file: string
  readonly claim: string
}
interface Answer {
  readonly event: 'gal-relay: list given'
  readonly claim: string
  readonly isYours: boolean
}

let claims = 0

export interface Candidate {
  readonly onChosen: () => void
  /** Another one keeps the list now. */
  readonly onDismissed: () => void
  /** The master does not say: nobody keeps the list. Called once. */
  readonly onUnanswered: () => void
}

/** One list that this process would keep. */
export class Claim {
  readonly #name = `${process.pid}-${++claims}`
  readonly #file: string
  readonly #candidate: Candidate
  readonly #receive = guard('answer who keeps the list', (answer: Answer) => {
    if (answer?.event === 'gal-relay: list given' && answer.claim === this.#name) {
      this.#unanswered = 0
      this.#become(answer.isYours)
    }
  })
  #isChosen = false
  #unanswered = 0
  #timer: NodeJS.Timeout | undefined

  constructor(file: string, candidate: Candidate) {
    this.#file = file
    this.#candidate = candidate
  }

  start(): void {
    if (!cluster.isWorker) {
      this.#become(true)
      return
    }
    process.on('message', this.#receive)
    const ask = () => {
      this.#send('gal-relay: list wanted')
      if (++this.#unanswered === UNANSWERED) this.#candidate.onUnanswered()
    }
    this.#timer = every(TICK, 'question who keeps the list', ask).unref()
    ask()
  }

  close(): void {
    clearInterval(this.#timer)
    process.removeListener('message', this.#receive)
    if (cluster.isWorker) this.#send('gal-relay: list given up')
  }

  #become(isChosen: boolean): void {
    if (isChosen === this.#isChosen) return
    this.#isChosen = isChosen
    if (isChosen) this.#candidate.onChosen()
    else this.#candidate.onDismissed()
  }

  #send(event: Question['event']): void {
    const question: Question = { event, file: this.#file, claim: this.#name }
    // The channel may be closing; then the master gives it to another one by itself.
    if (process.connected) process.send?.(question, undefined, undefined, () => {})
  }
}

interface Holder {
  readonly worker: number
  readonly claim: string
  /** Seconds that the master saw, so that none counts in which it stood still itself. */
  silent: number
}

/** For the master of a cluster: who keeps each file. */
let holders: Map<string, Holder> | undefined

/** Answers the workers for as long as this process lives, if it is one that may have some. */
export function chooseAmongWorkers(): void {
  if (holders || !cluster.isPrimary) return
  const byFile = new Map<string, Holder>()
  holders = byFile
  const receive = (worker: Worker, question: Question) => {
    const { event, file, claim } = question ?? {}
    const holder = byFile.get(file)
    if (event === 'gal-relay: list given up') {
      if (holder?.claim === claim) byFile.delete(file)
    } else if (event === 'gal-relay: list wanted') {
      const isYours = !holder || holder.claim === claim
      if (isYours) byFile.set(file, { worker: worker.id, claim, silent: 0 })
      const answer: Answer = { event: 'gal-relay: list given', claim, isYours }
      if (worker.isConnected()) worker.send(answer, () => {})
    }
  }
  const forget = ({ id }: Worker) => {
    for (const [file, { worker }] of byFile) if (worker === id) byFile.delete(file)
  }
  cluster.on('message', guard('question of a worker', receive))
  // Not 'exit': Haraka takes all listeners off that one when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker that may keep the list', forget))
  every(TICK, 'watch over the workers', () => {
    for (const [file, holder] of byFile) if (++holder.silent >= SILENCE) byFile.delete(file)
  }).unref()
}

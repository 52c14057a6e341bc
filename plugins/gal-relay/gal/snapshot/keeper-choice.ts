// Decides which of a server's workers keeps all its lists. The master chooses one, and another if
// that one ends or hangs. Workers ask once a second, which is also their sign of life. A server
// that is a single process is its own master. Each server keeps its own lists in its own files.
import cluster, { type Worker } from 'node:cluster'
import { every, guard } from '../../guard'

const TICK = 1000
/** Silent seconds after which a worker counts as hung. Its child ends sooner (sync-process.ts). */
const SILENCE = 7
/** Unanswered questions that show that the master runs a release that does not know them. */
const UNANSWERED = 10

/** Messages between the processes. Haraka tells its own messages apart by `event`, too. */
type Question = {
  readonly event: 'gal-relay: list wanted' | 'gal-relay: list given up'
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
  /** Another process keeps the lists now. */
  readonly onDismissed: () => void
  /** The master does not answer: nobody keeps the lists. Called once. */
  readonly onUnanswered: () => void
}

/** This process's offer to keep the lists. */
export class Claim {
  readonly #name = `${process.pid}-${++claims}`
  readonly #candidate: Candidate
  readonly #receive = guard('answer who keeps the lists', (message: Answer) => {
    if (message?.event === 'gal-relay: list given') this.#take(message)
  })
  #isChosen = false
  #unanswered = 0
  #timer: NodeJS.Timeout | undefined

  constructor(candidate: Candidate) {
    this.#candidate = candidate
  }

  start(): void {
    if (cluster.isWorker) process.on('message', this.#receive)
    const ask = () => {
      this.#send('gal-relay: list wanted')
      if (++this.#unanswered === UNANSWERED) this.#candidate.onUnanswered()
    }
    this.#timer = every(TICK, 'question who keeps the lists', ask).unref()
    ask()
  }

  close(): void {
    clearInterval(this.#timer)
    process.removeListener('message', this.#receive)
    this.#send('gal-relay: list given up')
  }

  #take({ claim, isYours }: Answer): void {
    if (claim !== this.#name) return
    this.#unanswered = 0
    if (isYours === this.#isChosen) return
    this.#isChosen = isYours
    if (isYours) this.#candidate.onChosen()
    else this.#candidate.onDismissed()
  }

  #send(event: Question['event']): void {
    const question: Question = { event, claim: this.#name }
    if (!cluster.isWorker) {
      const answer = answerTo(question)
      if (answer) this.#take(answer)
      return
    }
    // The channel may be closing. The master then chooses another worker by itself.
    if (process.connected) process.send?.(question, undefined, undefined, () => {})
  }
}

interface Holder {
  /** `undefined`: this process itself. */
  readonly worker: number | undefined
  readonly claim: string
  /** Seconds counted by the master, so time in which it stood still itself does not count. */
  silent: number
}

/** In a master, or a server that is a single process: the process that keeps the lists. */
let holder: Holder | undefined

/** @returns `undefined` if no answer is expected */
function answerTo({ event, claim }: Question, worker?: number): Answer | undefined {
  const isYours = !holder || holder.claim === claim
  if (event === 'gal-relay: list given up') {
    if (isYours) holder = undefined
    return undefined
  }
  if (isYours) holder = { worker, claim, silent: 0 }
  return { event: 'gal-relay: list given', claim, isYours }
}

let answersWorkers = false

/** Answers the workers as long as this process lives, if it is one that may have workers. */
export function chooseAmongWorkers(): void {
  if (answersWorkers || !cluster.isPrimary) return
  answersWorkers = true
  const receive = (worker: Worker, message: Question) => {
    if (!EVENTS.has(message?.event)) return
    const answer = answerTo(message, worker.id)
    if (answer && worker.isConnected()) worker.send(answer, () => {})
  }
  const forget = ({ id }: Worker) => {
    if (holder?.worker === id) holder = undefined
  }
  cluster.on('message', guard('question of a worker', receive))
  // Not 'exit': Haraka removes all its listeners when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker that may keep the lists', forget))
  every(TICK, 'watch over the workers', () => {
    if (holder && ++holder.silent >= SILENCE) holder = undefined
  }).unref()
}

const EVENTS: ReadonlySet<unknown> = new Set<Question['event']>([
  'gal-relay: list wanted',
  'gal-relay: list given up',
])

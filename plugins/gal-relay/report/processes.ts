// Haraka's workers share one HTTP port, so that any of them may be asked for what all have counted.
// The master, which answers no mail, keeps the last report of each worker: the worker that was asked
// asks the master, the master asks all for a fresh report, and one that does not answer in time
// counts with its last. A worker that ended stays counted with its last report, which is at most
// SENT_EVERY old.
import cluster, { type Worker } from 'node:cluster'
import { every, guard, later } from '../guard'
import {
  type History,
  type InstallReport,
  mergeHistories,
  NO_HISTORY,
  type ProcessReport,
  reportOf,
} from './install'

/** Messages between the processes; `event` is how Haraka's own are told apart too. */
type Message =
  | { readonly event: 'gal-relay: asked'; readonly question: number }
  | { readonly event: 'gal-relay: tell'; readonly round: number }
  | { readonly event: 'gal-relay: told'; readonly round: number; readonly report: ProcessReport }
  | {
      readonly event: 'gal-relay: answered'
      readonly question: number
      readonly report: InstallReport
    }

/** How often a worker reports unasked, in milliseconds. */
const SENT_EVERY = 5000
/** How long the master waits for a worker's report. */
const REPORT_TIMEOUT = 500
/** How long a worker waits for the master's answer before it speaks for itself alone. */
const ANSWERED_WITHIN = 2000
/** A report that nobody asked for. */
const UNASKED = 0

/** Where reports of all processes come from. */
export interface Reports {
  collect(): Promise<InstallReport>
  close(): void
}

/** For a server that is one process. */
export function onlyProcess(own: () => ProcessReport): Reports {
  return { collect: async () => reportOf([own()]), close: () => {} }
}

/** For a worker. */
export function worker(own: () => ProcessReport): Reports {
  const waiting = new Map<number, (report: InstallReport) => void>()
  let questions = 0
  const send = (message: Message) => {
    // The channel may be closing; then nobody is there to be told.
    if (process.connected) process.send?.(message, undefined, undefined, () => {})
  }
  const tell = (round: number) => send({ event: 'gal-relay: told', round, report: own() })
  const receive = (message: Message) => {
    if (message?.event === 'gal-relay: tell') tell(message.round)
    else if (message?.event === 'gal-relay: answered') {
      waiting.get(message.question)?.(message.report)
      waiting.delete(message.question)
    }
  }
  process.on('message', guard('message of the master process', receive))
  const timer = every(SENT_EVERY, 'report to the master process', () => tell(UNASKED)).unref()
  tell(UNASKED)
  return {
    collect: () =>
      new Promise((resolve, reject) => {
        const question = ++questions
        const answerAlone = () => {
          waiting.delete(question)
          resolve(reportOf([own()]))
        }
        const alone = later(ANSWERED_WITHIN, 'report of one process', answerAlone, reject)
        waiting.set(question, (report) => {
          clearTimeout(alone)
          resolve(report)
        })
        send({ event: 'gal-relay: asked', question })
      }),
    close: () => {
      clearInterval(timer)
      tell(UNASKED)
    },
  }
}

/** For the master, for as long as it lives. */
export function answerForWorkers(): void {
  const last = new Map<number, ProcessReport>()
  const rounds = new Map<number, Round>()
  let ended: History = NO_HISTORY
  let round = UNASKED

  const send = (to: Worker, message: Message) => {
    if (to.isConnected()) to.send(message, () => {})
  }
  const tellAll = (then: () => void) => {
    const asked = Object.values(cluster.workers ?? {}).filter(
      (one) => one !== undefined && last.has(one.id),
    ) as Worker[]
    const number = ++round
    const finish = () => {
      clearTimeout(timer)
      if (rounds.delete(number)) then()
    }
    const timer = later(REPORT_TIMEOUT, 'reports of the workers', finish, finish)
    rounds.set(number, { missing: new Set(asked.map(({ id }) => id)), finish })
    for (const one of asked) send(one, { event: 'gal-relay: tell', round: number })
    settle()
  }
  const settle = () => {
    for (const { missing, finish } of [...rounds.values()]) if (missing.size === 0) finish()
  }
  const receive = (from: Worker, message: Message) => {
    if (message?.event === 'gal-relay: told') {
      last.set(from.id, message.report)
      rounds.get(message.round)?.missing.delete(from.id)
      settle()
    } else if (message?.event === 'gal-relay: asked') {
      const { question } = message
      tellAll(() => {
        const report = reportOf([...last.values()], ended)
        send(from, { event: 'gal-relay: answered', question, report })
      })
    }
  }
  const forget = ({ id }: Worker) => {
    const report = last.get(id)
    if (report) ended = mergeHistories([ended, report])
    last.delete(id)
    for (const { missing } of rounds.values()) missing.delete(id)
    settle()
  }
  cluster.on('message', guard('message of a worker', receive))
  // Not 'exit': Haraka takes all listeners off that one when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker', forget))
}

interface Round {
  readonly missing: Set<number>
  readonly finish: () => void
}

// Haraka's workers share one HTTP port, so that any of them may be asked for what all have counted.
// The master, which answers no mail, keeps the last report of each worker: the worker that was asked
// asks the master, the master asks all for a fresh report, and one that does not answer in time
// counts with its last. A worker that ended stays counted with its last report, which is at most
// REPORTED_EVERY old.
import cluster, { type Worker } from 'node:cluster'
import { every, guard, unattended } from '../guard'
import {
  type History,
  type InstallReport,
  mergeHistories,
  NO_HISTORY,
  type ProcessReport,
  reportOf,
} from './install'

/** Done by each worker: sends its report. */
const REPORT = 'report'
/** Done by the master: keeps the report of the worker that sends it. */
const REPORTED = 'reported'
/** Done by the master: answers with the report of all. */
const REPORT_OF_ALL = 'report of all'

/** How often a worker reports unasked, in milliseconds. */
const REPORTED_EVERY = 5000
/** How long the master waits for the workers' reports. */
const REPORT_TIMEOUT = 500

/** The other processes of this server (control/processes.ts). */
interface Processes {
  handle(command: string, handler: (request: unknown) => unknown): void
  ask(command: string, request: unknown): Promise<unknown>
  everywhere(command: string, request: unknown, within: number): Promise<unknown>
}

/** Where reports of all processes come from. */
export interface Reports {
  collect(): Promise<InstallReport>
  close(): void
}

/** For a server that is one process. */
export function onlyProcess(own: () => ProcessReport): Reports {
  return { collect: async () => reportOf([own()]), close: () => {} }
}

export function worker(own: () => ProcessReport, processes: Processes): Reports {
  const send = () =>
    unattended('report to the master process', () => processes.ask(REPORTED, own()))
  processes.handle(REPORT, send)
  const timer = every(REPORTED_EVERY, 'regular report to the master process', send).unref()
  send()
  return {
    async collect() {
      const all = (await processes.ask(REPORT_OF_ALL, undefined)) as InstallReport | undefined
      // It does not answer: then for this one alone.
      return all ?? reportOf([own()])
    },
    close: () => {
      clearInterval(timer)
      send()
    },
  }
}

/** For the master, for as long as it lives. */
export function answerForWorkers(processes: Processes): void {
  /** By process id. */
  const last = new Map<number, ProcessReport>()
  let ended: History = NO_HISTORY
  processes.handle(REPORTED, (request) => {
    const report = request as ProcessReport
    last.set(report.pid, report)
  })
  processes.handle(REPORT_OF_ALL, async () => {
    // A worker's report comes before its answer.
    await processes.everywhere(REPORT, undefined, REPORT_TIMEOUT)
    return reportOf([...last.values()], ended)
  })
  const keep = ({ process: { pid = 0 } }: Worker) => {
    const report = last.get(pid)
    if (report) ended = mergeHistories([ended, report])
    last.delete(pid)
  }
  // Not 'exit': Haraka takes all listeners off that one when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker that has reported', keep))
}

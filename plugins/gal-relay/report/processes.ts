// Haraka's workers share one HTTP port, so any of them may be asked for the counts of all. It asks the master,
// which answers no mail; the master asks all workers for a fresh report, and uses the last one of a worker that
// does not answer in time or has ended. That report is at most REPORTED_EVERY old.
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

/** To each worker: send your report. */
const REPORT = 'report'
/** To the master: keep the sender's report. */
const REPORTED = 'reported'
/** To the master: answer with the reports of all. */
const REPORT_OF_ALL = 'report of all'

/** How often a worker reports by itself, in milliseconds. */
const REPORTED_EVERY = 5000
/** How long the master waits for the workers' reports, in milliseconds. */
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
      // The master does not answer: this process alone.
      return all ?? reportOf([own()])
    },
    close: () => {
      clearInterval(timer)
      send()
    },
  }
}

/** For the master, until it ends. */
export function answerForWorkers(processes: Processes): void {
  /** By process id. */
  const last = new Map<number, ProcessReport>()
  let ended: History = NO_HISTORY
  processes.handle(REPORTED, (request) => {
    const report = request as ProcessReport
    last.set(report.pid, report)
  })
  processes.handle(REPORT_OF_ALL, async () => {
    // A worker sends its report before its answer.
    await processes.everywhere(REPORT, undefined, REPORT_TIMEOUT)
    return reportOf([...last.values()], ended)
  })
  const keep = ({ process: { pid = 0 } }: Worker) => {
    const report = last.get(pid)
    if (report) ended = mergeHistories([ended, report])
    last.delete(pid)
  }
  // Not 'exit': Haraka removes all listeners of that event when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker that has reported', keep))
}

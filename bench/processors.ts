// Assigns threads to processors if the clients and the directory of a benchmark stand in for other
// machines (taskset(1) of util-linux).
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { findProgram } from '../test/support/programs'

const FIRST_THREAD = '-cp'
const ALL_THREADS = '-acp'

/**
 * Reserves the last processor for the thread that speaks SMTP, and keeps off it everything that would run
 * on other machines. The mail server's other threads and processes, such as V8's threads and the process
 * that reads the list, run wherever there is room, as they would there. Does nothing if there is only one
 * processor, or no taskset.
 *
 * @param mail a process whose first thread speaks SMTP
 * @param others other processes
 * @returns a function that gives the other processes all processors again
 */
export function leaveLastProcessorTo(mail: number, others: readonly number[]): () => void {
  const taskset = findProgram('taskset')
  const last = availableParallelism() - 1
  if (!taskset || last === 0) return () => {}
  const place = (options: string, processors: string, pid: number) =>
    execFileSync(taskset, [options, processors, String(pid)], { stdio: 'ignore' })
  for (const pid of others) place(ALL_THREADS, `0-${last - 1}`, pid)
  place(FIRST_THREAD, String(last), mail)
  return () => {
    for (const pid of others) place(ALL_THREADS, `0-${last}`, pid)
  }
}

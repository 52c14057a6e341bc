// Which processors threads run on, where the bench's clients and its directory stand for other machines
// (taskset(1), of util-linux).
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { findProgram } from '../test/support/programs'

const FIRST_THREAD = '-cp'
const ALL_THREADS = '-acp'

/**
 * Keeps the last processor free of what would be on other machines, and the thread that speaks SMTP on
 * it. All else of the mail server's, V8's threads and the process that reads the list, runs where it
 * finds room, as it would there. Nothing changes where there is one processor only, or no taskset.
 *
 * @param mail a process, whose first thread speaks SMTP
 * @param others processes
 * @returns gives the others all processors again
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

// User and system time of processes, from the Linux scheduler: exact to far less than a
// microsecond, whereas /proc/…/stat counts hundredths of a second.
import { readdirSync, readFileSync } from 'node:fs'

/** The time of a process, its threads and its descendants that are still alive, in microseconds. */
export function cpuOf(pid: number): number {
  let nanoseconds = 0
  for (const thread of list(`/proc/${pid}/task`)) {
    const [ran] = read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')
    nanoseconds += Number(ran)
    for (const child of read(`/proc/${pid}/task/${thread}/children`).split(' ')) {
      if (child) nanoseconds += cpuOf(Number(child)) * 1000
    }
  }
  return nanoseconds / 1000
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** '' if the process has just ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

// The process that keeps the list: started by one that answers mail (sync-home.ts), so that reading a
// million entries takes nothing from mail but what the operating system gives it, and neither memory
// nor a crash in here is theirs. It ends when its parent does.
import { readdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import type { Log } from '../log'
import { isLost } from './lease'
import { type ListSettings, Syncer, type SyncReport } from './syncer'

/** What it is told, once. */
export interface ToSyncProcess {
  readonly settings: ListSettings
  /** The link by which the parent holds the list, and what it says. */
  readonly lease: { readonly file: string; readonly token: string }
}

/** What the parent is told; a report also says that all is well. */
export type FromSyncProcess =
  | { readonly kind: 'log'; readonly level: keyof Log; readonly text: string }
  | { readonly kind: 'report'; readonly report: SyncReport }

const REPORT_EVERY = 1000

function tell(message: FromSyncProcess): void {
  if (process.connected) process.send?.(message)
}

const log: Log = {
  debug: (text) => tell({ kind: 'log', level: 'debug', text }),
  info: (text) => tell({ kind: 'log', level: 'info', text }),
  notice: (text) => tell({ kind: 'log', level: 'notice', text }),
  warn: (text) => tell({ kind: 'log', level: 'warn', text }),
  error: (text) => tell({ kind: 'log', level: 'error', text }),
}

function leaveProcessorsToMail(): void {
  try {
    for (const thread of threads()) setPriority(thread, constants.priority.PRIORITY_LOW)
  } catch {
    // not everywhere allowed
  }
}

/** On Linux each has a priority of its own, and V8's collector has begun some. 0: the whole process. */
function threads(): readonly number[] {
  try {
    return readdirSync('/proc/self/task').map(Number)
  } catch {
    return [0]
  }
}

// What ends a whole group of processes is for the parent, which ends us when it is done.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.once('disconnect', () => process.exit(0))
process.once('message', async ({ settings, lease: { file, token } }: ToSyncProcess) => {
  process.title = 'gal-relay sync'
  leaveProcessorsToMail()
  const leaveToOther = async () => {
    if (await isLost(file, token)) process.exit(0)
  }
  await leaveToOther()
  setInterval(leaveToOther, REPORT_EVERY)
  const syncer = new Syncer(settings, log)
  setInterval(() => tell({ kind: 'report', report: syncer.report() }), REPORT_EVERY)
  void syncer.run(new AbortController().signal)
})

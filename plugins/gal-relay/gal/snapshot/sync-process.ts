// The process that keeps the list: started by one that answers mail (list-reader.ts), so that reading a
// million entries takes nothing from mail but what the operating system gives it, and neither memory
// nor a crash in here is theirs. It ends when its parent does.
import { readdirSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { every, guard, later, onFailure, unattended } from '../../guard'
import type { Log } from '../../log'
import type { ListSettings } from './list-settings'
import { Syncer, type SyncReport } from './syncer'

/** What it is told first; all that comes after is a sign of life. */
export interface ToSyncProcess {
  readonly settings: ListSettings
  /** When the parent stands still, another process takes its place and starts a process like this one. */
  readonly isReplaceable: boolean
}

/** What the parent is told; a report also says that all is well. */
export type FromSyncProcess =
  | { readonly kind: 'log'; readonly level: keyof Log; readonly text: string }
  | { readonly kind: 'report'; readonly report: SyncReport }
  /** A failure of ours in what is named. */
  | { readonly kind: 'failed'; readonly what: string; readonly error: Error }

const SECOND = 1000
const REPORT_EVERY = SECOND
/** Seconds without a sign of life, in which no other process has taken its place yet (keeper-choice.ts). */
const PARENT_SILENCE = 4
/** Reading a list costs the directory something. */
const AFTER_FAILURE = 5000
const TOLD_WITHIN = 500

onFailure((what, thrown) => {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  tell({ kind: 'failed', what, error })
})

function tell(message: FromSyncProcess): void {
  // The channel may be closing; then nobody is there to be told.
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
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
const leave = () => process.exit(0)
process.once('disconnect', guard('end of the parent process', leave, leave))
process.once('message', guard('start of keeping the list', begin, endSoon))

function begin({ settings, isReplaceable }: ToSyncProcess): void {
  process.title = 'gal-relay sync'
  leaveProcessorsToMail()
  if (isReplaceable) endWithoutParent()
  const syncer = new Syncer(settings, log)
  const report = () => tell({ kind: 'report', report: syncer.report() })
  every(REPORT_EVERY, 'report to the parent process', report)
  keepList(syncer)
}

function endWithoutParent(): void {
  let silent = 0
  const heard = () => {
    silent = 0
  }
  process.on('message', guard('sign of life of the parent process', heard))
  every(SECOND, 'watch over the parent process', () => {
    if (++silent >= PARENT_SILENCE) process.exit(0)
  })
}

/** Without its order it has nothing to do: the parent is told why, and starts another one. */
function endSoon(): void {
  const end = () => process.exit(1)
  later(TOLD_WITHIN, 'end of a process that has no order', end, end)
}

function keepList(syncer: Syncer): void {
  const keep = () => keepList(syncer)
  unattended(
    'keeping the list',
    () => syncer.run(new AbortController().signal),
    () => later(AFTER_FAILURE, 'keeping the list again', keep, keep),
  )
}

// The process that keeps the list: started by one that answers mail (sync-home.ts), so that reading a
// million entries takes nothing from mail but what the operating system gives it, and neither memory
// nor a crash in here is theirs. It ends when its parent does.
import { constants, setPriority } from 'node:os'
import type { Log } from '../log'
import { type ListSettings, Syncer, type SyncReport } from './syncer'

/** What the parent is told. */
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

// A terminal's Ctrl-C is for the parent, which ends us when it is done.
process.on('SIGINT', () => {})
process.once('disconnect', () => process.exit(0))
process.once('message', (settings: ListSettings) => {
  process.title = 'gal-relay sync'
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  } catch {
    // not everywhere allowed
  }
  const syncer = new Syncer(settings, log)
  setInterval(() => tell({ kind: 'report', report: syncer.report() }), REPORT_EVERY)
  void syncer.run(new AbortController().signal)
})

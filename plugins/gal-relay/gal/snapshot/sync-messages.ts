// Messages between the process that keeps the lists (sync-process.ts) and its parent.
import type { PasswordRefusal } from '../../ldap/credentials'
import type { Log } from '../../log'
import type { ListSettings } from './list-settings'
import type { SyncReport } from './syncer'

export interface KeepOrder {
  readonly number: number
  readonly settings: ListSettings
  /** On the clock of the machine (reading-lease.ts); `undefined`: as long as the list is wanted. */
  readonly readUntil: number | undefined
}

/** Lists to keep and to drop. Each message is also a sign of life. */
export interface ToSyncProcess {
  readonly keep: readonly KeepOrder[]
  /** Numbers of lists. */
  readonly drop: readonly number[]
  /** Number of a list, and until when it may be read; another server may read it after that. */
  readonly leases?: readonly (readonly [number, number])[]
  /** Passwords that directories refused to the other processes of the server. */
  readonly refusals?: readonly PasswordRefusal[]
  /** If the parent hangs, another process takes over with its own child. First message only. */
  readonly isReplaceable?: boolean | undefined
}

/** Messages to the parent. `reports`, even when empty, also says that all is well. */
export type FromSyncProcess =
  | {
      readonly kind: 'log'
      readonly list: number
      readonly level: keyof Log
      readonly text: string
    }
  /** Only the reports that have changed. */
  | { readonly kind: 'reports'; readonly reports: readonly (readonly [number, SyncReport])[] }
  | { readonly kind: 'refused'; readonly refusal: PasswordRefusal }
  /** An internal failure; `what` names the task that failed. */
  | { readonly kind: 'failed'; readonly what: string; readonly error: Error }

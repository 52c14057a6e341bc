// What the process that keeps the lists (sync-process.ts) and the one that has started it say to each other.
import type { Refusal } from '../../ldap/credentials'
import type { Log } from '../../log'
import type { ListSettings } from './list-settings'
import type { SyncReport } from './syncer'

export interface KeepOrder {
  readonly number: number
  readonly settings: ListSettings
  /** On the clock of the machine (reading-lease.ts); undefined: for as long as it is wanted. */
  readonly readUntil: number | undefined
}

/** Lists that come and go; each message is a sign of life as well. */
export interface ToSyncProcess {
  readonly keep: readonly KeepOrder[]
  /** Their numbers. */
  readonly drop: readonly number[]
  /** By number: until when a list may be read that another server may read after that. */
  readonly leases?: readonly (readonly [number, number])[]
  /** Of passwords, in the other processes of the server. */
  readonly refusals?: readonly Refusal[]
  /** When the parent hangs, another process takes its place and starts one like this. Said at first. */
  readonly isReplaceable?: boolean | undefined
}

/** What the parent is told; reports, none included, also say that all is well. */
export type FromSyncProcess =
  | {
      readonly kind: 'log'
      readonly list: number
      readonly level: keyof Log
      readonly text: string
    }
  /** Of lists about which there is news. */
  | { readonly kind: 'reports'; readonly reports: readonly (readonly [number, SyncReport])[] }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** A failure of ours in what is named. */
  | { readonly kind: 'failed'; readonly what: string; readonly error: Error }

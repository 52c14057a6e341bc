// What the list has found out about one directory server. It belongs to the server and lives as long.
import type { Turn } from '../../ldap/turn'
import { KnownSearchable } from './known-searchable'

/** Proof that a server showed what it should show. */
export interface Proof {
  /** When it was asked, on the clock of performance.now(). */
  readonly asked: number
  /** Resolves to the addresses that were asked for and are missing, in their normal form. */
  readonly missing: Promise<ReadonlySet<string>>
}

export interface ServerKnowledge {
  readonly searchable: KnownSearchable
  /** Whether it returns fewer entries at a time than searches ask for. */
  isLimited: boolean
  /** The latest one. */
  proof: Proof | undefined
  /** Whether it may have lost its entries; unknown recipients are then deferred, and the log says so. */
  isDoubtful: boolean
}

export const newKnowledge = (): ServerKnowledge => ({
  searchable: new KnownSearchable(),
  isLimited: false,
  proof: undefined,
  isDoubtful: false,
})

/** One server's turn to answer a request to the list. */
export type ListTurn = Turn<ServerKnowledge>

// What the list has found out about one directory server; it is kept on the server, and lives as long.
import type { Turn } from '../../ldap/turn'
import { KnownSearchable } from './known-searchable'

/** That a server showed what it should show. */
export interface Proof {
  /** When it was asked, on the clock of performance.now(). */
  readonly asked: number
  /** Resolves to those addresses that were asked for and are missing, by the form that compares. */
  readonly missing: Promise<ReadonlySet<string>>
}

export interface ServerKnowledge {
  readonly searchable: KnownSearchable
  /** It brings fewer entries at a time than searches ask for. */
  isLimited: boolean
  /** The last one. */
  proof: Proof | undefined
  /** It may have lost its entries: unknown recipients are deferred, and the log says so. */
  isDoubtful: boolean
}

export const newKnowledge = (): ServerKnowledge => ({
  searchable: new KnownSearchable(),
  isLimited: false,
  proof: undefined,
  isDoubtful: false,
})

/** One server's turn to answer what is asked of the list. */
export type ListTurn = Turn<ServerKnowledge>

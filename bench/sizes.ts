// How much of everything is measured: as much as gives steady figures, or, with `--try`, just enough to
// see that all of it still works.

export interface Sizes {
  /** Entries of the directory. */
  readonly entries: number
  /** The same for the part `large`. */
  readonly large: number
  /** Entries of an Active Directory. */
  readonly active: number
  /** Processes of each server. */
  readonly processes: number
  /** The server that counts as 1 is started once for all rows, and not anew for each. */
  readonly sharesCeiling: boolean
  /** The clients do not sleep while they wait for replies: to wake them takes the server's time. */
  readonly awake: boolean
  /** Times that each server has its turn, and recipients in each turn. */
  readonly rounds: number
  readonly turn: number
  /** Times as many turns where little is to be seen. */
  readonly switched: number
  /** Recipients before the first round. */
  readonly before: number
  /** Recipients in memory. */
  readonly kept: readonly number[]
  /** Routes, and networks in a restriction. */
  readonly lists: readonly number[]
  readonly decisions: number
  /** Rows of the routing table, and as many networks, in settings that are read again. */
  readonly reloaded: readonly number[]
  /** Times that they are. */
  readonly reloads: number
  /** Companies with a directory each, and recipients of each of them. */
  readonly companies: number
  readonly companyRecipients: number
  /** Servers that receive a list. */
  readonly gateways: number
  /** So long is mail measured without a sync. */
  readonly seconds: number
}

export const FULL: Sizes = {
  entries: 10_000,
  large: 1_000_000,
  active: 5000,
  processes: 5,
  sharesCeiling: false,
  awake: true,
  rounds: 40,
  turn: 2000,
  switched: 8,
  before: 40_000,
  kept: [0, 1_000_000, 10_000_000],
  lists: [10, 100_000],
  decisions: 400_000,
  reloaded: [1000, 100_000],
  reloads: 5,
  companies: 500,
  companyRecipients: 1000,
  gateways: 10,
  seconds: 15,
}

export const TRY: Sizes = {
  entries: 100,
  large: 200,
  active: 20,
  processes: 1,
  sharesCeiling: true,
  awake: false,
  rounds: 2,
  turn: 100,
  switched: 1,
  before: 200,
  kept: [0, 1000],
  lists: [10, 100],
  decisions: 2000,
  reloaded: [100],
  reloads: 1,
  companies: 20,
  companyRecipients: 5,
  gateways: 2,
  seconds: 1,
}

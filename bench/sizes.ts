// How much to measure: enough for steady figures or, with `--try`, just enough to see that
// everything still works.

export interface Sizes {
  /** Entries in the directory. */
  readonly entries: number
  /** Entries in the directory for the part `large`. */
  readonly large: number
  /** Entries in an Active Directory. */
  readonly active: number
  /** Processes per server. */
  readonly processes: number
  /** Whether clients stay awake while they wait: waking them would be charged to the server. */
  readonly awake: boolean
  /**
   * Turns of each server, and recipients per turn: in a short turn a server mostly brings its memory back into
   * the processor's caches, which the other one has used meanwhile.
   */
  readonly rounds: number
  readonly turn: number
  /** The factor for the number of turns if the effect to measure is small. */
  readonly switched: number
  /** Recipients before the first round. */
  readonly before: number
  /** Recipients in memory. */
  readonly kept: readonly number[]
  /** Routes, and networks in a restriction. */
  readonly lists: readonly number[]
  readonly decisions: number
  /** Rows of the routing table, and the same number of networks, in settings that are reloaded. */
  readonly reloaded: readonly number[]
  /** The number of reloads. */
  readonly reloads: number
  /** Companies, each with its own directory, and recipients per company. */
  readonly companies: number
  readonly companyRecipients: number
  /** Servers against which a dictionary is run. */
  readonly defended: number
  /** Servers that receive a list. */
  readonly gateways: number
  /** How long mail is measured without a sync, in seconds. */
  readonly seconds: number
}

export const FULL: Sizes = {
  entries: 10_000,
  large: 1_000_000,
  active: 5000,
  processes: 5,
  awake: true,
  rounds: 25,
  turn: 10_000,
  switched: 2,
  before: 40_000,
  kept: [0, 1_000_000, 10_000_000],
  lists: [10, 100_000],
  decisions: 400_000,
  reloaded: [1000, 100_000],
  reloads: 5,
  companies: 500,
  companyRecipients: 1000,
  defended: 3,
  gateways: 10,
  seconds: 15,
}

export const TRY: Sizes = {
  entries: 100,
  large: 200,
  active: 20,
  processes: 1,
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
  defended: 1,
  gateways: 2,
  seconds: 1,
}

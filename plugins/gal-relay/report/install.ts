// What one process says of itself, and what all processes of an install say: counters are
// added up, those of processes that have ended included, so that nothing ever counts backwards.
import type { DirectoryReport } from '../gal/directories'
import type { HarvestReport } from '../harvest/harvest'
import {
  type CountsReport,
  MINUTES,
  type Minute,
  type Mode,
  mergeMost,
  REFUSALS,
  type RecentDifference,
  type RecentRefusal,
  type RefusedMost,
} from './counts'
import { type Sample, samplesOfCounts, samplesOfHarvest, samplesOfList, sum } from './samples'

/** What outlives the process that saw it. */
export interface History {
  readonly counters: readonly Sample[]
  /** The last {@link MINUTES}, oldest first. */
  readonly minutes: readonly Minute[]
  /** The last {@link REFUSALS}, oldest first. */
  readonly refusals: readonly RecentRefusal[]
  /** The same of answers that differed on observed listeners. */
  readonly recentDifferences: readonly RecentDifference[]
  readonly refusedMost: Readonly<Record<Mode, RefusedMost>>
  /** When the plugin itself failed last, milliseconds since 1970. */
  readonly failedAt: number | undefined
}

export interface ProcessReport extends History {
  readonly pid: number
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly directories: readonly DirectoryReport[]
  /** When the settings in force were read, milliseconds since 1970. */
  readonly settingsSince: number
  /** When a reload was refused, if the last one was: the settings in force are older than the files. */
  readonly reloadFailedAt: number | undefined
  /** Why; the first of the problems, in words. */
  readonly reloadProblems: readonly string[]
  /** undefined where harvest defence is off */
  readonly harvest?: HarvestReport | undefined
}

export interface InstallReport extends History {
  /** Those that answer mail now. */
  readonly processes: readonly ProcessReport[]
}

const NOBODY: RefusedMost = { recipients: [], clients: [], senderDomains: [] }

export const NO_HISTORY: History = {
  counters: [],
  minutes: [],
  refusals: [],
  recentDifferences: [],
  refusedMost: { enforce: NOBODY, observe: NOBODY },
  failedAt: undefined,
}

/**
 * @param retired what address lists counted that are no longer in use
 */
export function processReport(
  counts: CountsReport,
  directories: readonly DirectoryReport[],
  retired: readonly Sample[],
  rest: Pick<
    ProcessReport,
    'startedAt' | 'settingsSince' | 'reloadFailedAt' | 'reloadProblems' | 'harvest'
  >,
): ProcessReport {
  const { minutes, refusals, recentDifferences, refusedMost, failedAt } = counts
  const history = { minutes, refusals, recentDifferences, refusedMost, failedAt }
  const counters = sum([
    ...samplesOfCounts(counts),
    ...retired,
    ...directories.flatMap(samplesOfList),
    ...(rest.harvest ? samplesOfHarvest(rest.harvest) : []),
  ])
  return { ...rest, pid: process.pid, counters, ...history, directories }
}

/** @param ended of the processes that have ended */
export function reportOf(processes: readonly ProcessReport[], ended = NO_HISTORY): InstallReport {
  return { ...mergeHistories([ended, ...processes]), processes }
}

export function mergeHistories(histories: readonly History[]): History {
  const minutes = new Map<number, Minute>()
  for (const one of histories.flatMap((history) => history.minutes)) {
    const known = minutes.get(one.minute)
    if (!known) {
      minutes.set(one.minute, { ...one })
      continue
    }
    known.accepted += one.accepted
    known.refused += one.refused
    known.deferred += one.deferred
  }
  return {
    counters: sum(histories.flatMap(({ counters }) => counters)),
    minutes: [...minutes.values()].sort((a, b) => a.minute - b.minute).slice(-MINUTES),
    refusals: latest(histories.map(({ refusals }) => refusals)),
    recentDifferences: latest(histories.map((one) => one.recentDifferences)),
    refusedMost: {
      enforce: mergeMost(histories.map(({ refusedMost }) => refusedMost.enforce)),
      observe: mergeMost(histories.map(({ refusedMost }) => refusedMost.observe)),
    },
    failedAt: histories
      .flatMap(({ failedAt }) => failedAt ?? [])
      .sort((a, b) => a - b)
      .at(-1),
  }
}

const latest = <T extends { readonly at: number }>(all: readonly (readonly T[])[]): readonly T[] =>
  all
    .flat()
    .sort((a, b) => a.at - b.at)
    .slice(-REFUSALS)

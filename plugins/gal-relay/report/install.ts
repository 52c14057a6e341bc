// What one process says of itself, and what all processes of an install say: counters are
// added up, those of processes that have ended included, so that nothing ever counts backwards.
import type { DirectoryReport } from '../gal/directories'
import type { HarvestReport } from '../harvest/harvest'
import { type CountsReport, MINUTES, type Minute, REFUSALS, type RecentRefusal } from './counts'
import { type Sample, samplesOfCounts, samplesOfHarvest, samplesOfList, sum } from './samples'

/** What outlives the process that saw it. */
export interface History {
  readonly counters: readonly Sample[]
  /** The last {@link MINUTES}, oldest first. */
  readonly minutes: readonly Minute[]
  /** The last {@link REFUSALS}, oldest first. */
  readonly refusals: readonly RecentRefusal[]
}

export interface ProcessReport extends History {
  readonly pid: number
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly directories: readonly DirectoryReport[]
  /** When a reload was refused, if the last one was: the settings in force are older than the files. */
  readonly reloadFailedAt: number | undefined
  /** undefined where harvest defence is off */
  readonly harvest?: HarvestReport | undefined
}

export interface InstallReport extends History {
  /** Those that answer mail now. */
  readonly processes: readonly ProcessReport[]
}

export const NO_HISTORY: History = { counters: [], minutes: [], refusals: [] }

/**
 * @param retired what address lists counted that are no longer in use
 */
export function processReport(
  counts: CountsReport,
  directories: readonly DirectoryReport[],
  retired: readonly Sample[],
  rest: Pick<ProcessReport, 'startedAt' | 'reloadFailedAt' | 'harvest'>,
): ProcessReport {
  const { minutes, refusals } = counts
  const counters = sum([
    ...samplesOfCounts(counts),
    ...retired,
    ...directories.flatMap(samplesOfList),
    ...(rest.harvest ? samplesOfHarvest(rest.harvest) : []),
  ])
  return { ...rest, pid: process.pid, counters, minutes, refusals, directories }
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
    refusals: histories
      .flatMap(({ refusals }) => refusals)
      .sort((a, b) => a.at - b.at)
      .slice(-REFUSALS),
  }
}

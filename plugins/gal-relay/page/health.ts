// Whether a load balancer should send mail here, that is, whether recipients of each domain can be
// looked up now.
import type { DirectoryReport } from '../gal/directories'
import { mailboxAttributes } from '../gal/mailbox-values'
import type { DirectorySettings } from '../settings/directories'
import type { Settings } from '../settings/settings'

export interface Health {
  readonly isWell: boolean
  /** A sentence for each directory that cannot be asked and has no usable list. */
  readonly problems: readonly string[]
}

const NOT_ANSWERING = {
  live: 'no server can be asked',
  snapshot: 'no server can be asked, and there is no usable list',
  received: 'there is no usable list',
} as const

/**
 * Healthy unless, for some domain, no directory can be asked and no list can be used. A directory that
 * has not been reached yet, as at start, cannot be asked.
 *
 * @param now milliseconds since 1970
 */
export function healthOf(
  settings: Settings,
  reports: readonly DirectoryReport[],
  now: number,
): Health {
  const { policies, directories } = settings
  if (![...policies.values()].some(({ enabled }) => enabled)) return { isWell: true, problems: [] }
  const silent = silentDirectories(settings, reports, now)
  const problems = directories.all
    .filter(({ name }) => silent.has(name))
    .map(({ name, gal }) => `directory ${name}: ${NOT_ANSWERING[gal.mode]}`)
  return { isWell: ![...silent.values()].includes('missed'), problems }
}

/**
 * The directories that cannot be asked and have no usable list, by name. `missed` means that some domain
 * has no other directory.
 */
export function silentDirectories(
  { directories }: Settings,
  reports: readonly DirectoryReport[],
  now: number,
): ReadonlyMap<string, 'missed' | 'spared'> {
  const silent = new Map<string, 'missed' | 'spared'>(
    directories.all
      .filter((one) => !answers(one, reports, now))
      .map(({ name }) => [name, 'spared'] as const),
  )
  for (const group of [directories.otherwise, ...directories.byDomain.values()]) {
    if (!group.every(({ name }) => silent.has(name))) continue
    for (const { name } of group) silent.set(name, 'missed')
  }
  return silent
}

function answers(
  directory: DirectorySettings,
  reports: readonly DirectoryReport[],
  now: number,
): boolean {
  const report = reports.find((one) => one.directory === directory.name)
  // Whether an idle server would answer only shows when it is asked.
  if (report?.servers.some(({ state }) => state === 'up' || state === 'idle')) return true
  return report !== undefined && hasUsableList(directory, report, now)
}

/** Whether the list can answer in the directory's place. */
export function hasUsableList(
  { gal, snapshot }: DirectorySettings,
  report: DirectoryReport,
  now: number,
): boolean {
  // The list does not say where mail goes.
  if (!report.snapshot || mailboxAttributes(gal) !== undefined) return false
  const { asOf } = report.snapshot
  return asOf > 0 && now - asOf <= snapshot.usable_for
}

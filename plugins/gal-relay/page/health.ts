// Whether a load balancer should send mail here: whether recipients of each domain can be looked up now.
import type { DirectoryReport } from '../gal/directories'
import { mailboxAttributes } from '../gal/mailbox-values'
import type { DirectorySettings } from '../settings/directories'
import type { Settings } from '../settings/settings'

export interface Health {
  readonly isWell: boolean
  /** A sentence for each directory that cannot be asked and for which there is no list. */
  readonly problems: readonly string[]
}

const NOT_ANSWERING = {
  live: 'no server can be asked',
  snapshot: 'no server can be asked, and there is no usable list',
  received: 'there is no usable list',
} as const

/**
 * Well, unless no directory of some domain can be asked and no list of it may be used. One that has not been
 * reached yet, as at start, cannot be asked.
 *
 * @param now milliseconds since 1970
 */
export function healthOf(
  { policies, directories }: Settings,
  reports: readonly DirectoryReport[],
  now: number,
): Health {
  if (![...policies.values()].some(({ enabled }) => enabled)) return { isWell: true, problems: [] }
  const answering = new Set(
    directories.all.filter((one) => answers(one, reports, now)).map(({ name }) => name),
  )
  const groups = [directories.otherwise, ...directories.byDomain.values()]
  const isWell = groups.every(
    (group) => group.length === 0 || group.some(({ name }) => answering.has(name)),
  )
  const silent = directories.all.filter(({ name }) => !answering.has(name))
  const problems = silent.map(({ name, gal }) => `directory ${name}: ${NOT_ANSWERING[gal.mode]}`)
  return { isWell, problems }
}

function answers(
  { name, gal, snapshot }: DirectorySettings,
  reports: readonly DirectoryReport[],
  now: number,
): boolean {
  const report = reports.find(({ directory }) => directory === name)
  if (report?.servers.some(({ state }) => state === 'up')) return true
  // The list does not know where mail goes.
  if (!report?.snapshot || mailboxAttributes(gal) !== undefined) return false
  const { asOf } = report.snapshot
  return asOf > 0 && now - asOf <= snapshot.usable_for
}

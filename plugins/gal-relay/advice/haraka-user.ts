// What the user that Haraka runs as may do with files, judged by owner and mode: this process may
// run as another user, and root may do anything.
import { type Stats, statSync } from 'node:fs'
import path from 'node:path'
import type { Finding } from '../gal/directory/finding'
import { queueFolder } from '../settings/haraka-files'
import { type HarakaUser, harakaUser, trustedOwners } from '../settings/owners'
import type { Settings } from '../settings/settings'

const [READ, WRITE, ENTER] = [4, 2, 1] as const

/** Folders that Haraka's user must be able to write to but cannot. */
export function unwritable(config: Haraka.Config, { directories }: Settings): readonly Finding[] {
  const user = harakaUser(config)
  if (!user) return []
  const lists = directories.all
    .filter(({ gal }) => gal.mode !== 'live')
    .map(({ snapshot }) => path.dirname(snapshot.file))
  const folders = [
    { folder: queueFolder(config), what: 'the outbound queue', rights: READ | WRITE | ENTER },
    ...Array.from(new Set(lists), (folder) => {
      return { folder, what: 'the folder of the list', rights: READ | WRITE | ENTER }
    }),
  ]
  return folders.flatMap(({ folder, what, rights }): Finding[] => {
    const barred = barredAt(user, folder, rights)
    if (!barred) return []
    const { name, isConfigured } = user
    const who = isConfigured
      ? `${name}, the user that Haraka runs as (user in config/smtp.ini)`
      : `${name}, who owns queue/`
    const level = isConfigured ? 'problem' : 'warning'
    const remedy = barred.at === folder ? `chown ${name} ${folder}` : `chmod o+x ${barred.at}`
    const text = `${what} ${folder} cannot be written by ${who}: ${described(barred)}; ${remedy}`
    return [{ level, text }]
  })
}

/**
 * @returns a sentence if the list belongs to a user whose files Haraka does not trust, or Haraka cannot
 *   read it; `undefined` if neither is the case
 */
export function foreignList(config: Haraka.Config, file: string): string | undefined {
  const user = harakaUser(config)
  const stats = statsOf(file)
  if (!user || !stats) return undefined
  const { users } = trustedOwners(config)
  const isBelieved = [0, user.uid, ...users].includes(stats.uid)
  if (isBelieved && may(user, stats, READ)) return undefined
  const what = isBelieved ? 'which may not read it' : 'which does not use it'
  return (
    `it belongs to user ${stats.uid} (${described({ at: file, stats })}), but Haraka runs as ${user.name}, ` +
    `${what}: run gal-relay sync as root or as ${user.name}, and chown ${user.name} ${file}`
  )
}

interface Barred {
  readonly at: string
  readonly stats: Stats
}

/** @returns the folder, or the first one on its path, in which the user lacks the rights */
function barredAt(user: HarakaUser, folder: string, rights: number): Barred | undefined {
  const { root } = path.parse(folder)
  const names = folder.slice(root.length).split(path.sep).filter(Boolean)
  const ways = names.map((_, index) => path.join(root, ...names.slice(0, index + 1)))
  for (const at of [root, ...ways]) {
    const stats = statsOf(at)
    // Other checks report that it is missing.
    if (!stats) return undefined
    if (!may(user, stats, at === folder ? rights : ENTER)) return { at, stats }
  }
  return undefined
}

/** Only one of the three classes counts, as in the operating system. */
function may({ uid, gids }: HarakaUser, { mode, uid: owner, gid }: Stats, rights: number): boolean {
  const shift = owner === uid ? 6 : gids.includes(gid) ? 3 : 0
  return ((mode >> shift) & rights) === rights
}

const described = ({ at, stats: { uid, gid, mode } }: Barred) =>
  `${at} has owner ${uid}, group ${gid}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}`

function statsOf(file: string): Stats | undefined {
  try {
    return statSync(file)
  } catch {
    return undefined
  }
}

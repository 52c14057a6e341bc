// Whose files are trusted (trusted-file.ts): those of the user that Haraka runs as or will run as.
// A process started by root cannot tell that user from its own id, nor can the gal-relay command.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { statsOf, type Trusted } from '../trusted-file'
import { configDir, queueFolder, readIniFile } from './haraka-files'

/**
 * The `user` and `group` in smtp.ini; the owner of `queue/`, which is the user that Haraka runs as if
 * systemd starts it; and the owner of `config/`, who can make Haraka do anything anyway.
 */
export function trustedOwners(config: Haraka.Config): Trusted {
  const { main = {} } = readIniFile(config, 'smtp.ini')
  const user = main.user ? idsOf('passwd', String(main.user)) : []
  const group = main.group ? idsOf('group', String(main.group)) : []
  const folder = configDir(config)
  const queue = statsOf(path.resolve(folder, '..', 'queue'))
  const own = statsOf(folder)
  const users = [user[0], queue?.uid, own?.uid]
  // Root's folders may belong to any group.
  const groups = [user[1], group[0], queue?.uid === 0 ? undefined : queue?.gid]
  return { users: distinct(users), groups: distinct(groups) }
}

/** The user that Haraka runs as, as far as its files tell. */
export interface HarakaUser {
  /** The user's name or number. */
  readonly name: string
  readonly uid: number
  /** Perhaps more groups than it has; what they may do is taken as permitted. */
  readonly gids: readonly number[]
  /** Whether `smtp.ini` names the user; otherwise the owner of `queue/` is assumed. */
  readonly isConfigured: boolean
}

/** @returns `undefined` for root, or if nothing tells who it is */
export function harakaUser(config: Haraka.Config): HarakaUser | undefined {
  const { main = {} } = readIniFile(config, 'smtp.ini')
  if (main.user) {
    const name = String(main.user)
    const [uid, gid] = idsOf('passwd', name)
    if (uid === undefined || uid === 0) return undefined
    const [group] = main.group ? idsOf('group', String(main.group)) : [0]
    const gids = distinct([gid, group, ...groupsOf(name)])
    return { name, uid, gids, isConfigured: true }
  }
  const queue = statsOf(queueFolder(config))
  if (!queue || queue.uid === 0) return undefined
  const owner = userNamed(queue.uid)
  const gids = distinct([queue.gid, owner?.gid, ...groupsOf(owner?.name ?? '')])
  return { name: owner?.name ?? String(queue.uid), uid: queue.uid, gids, isConfigured: false }
}

/** The groups that list the user as a member. */
function groupsOf(user: string): number[] {
  return fileOf('group')
    .split('\n')
    .map((line) => line.split(':'))
    .filter(([, , , members = '']) => user !== '' && members.split(',').includes(user))
    .map(([, , gid]) => Number(gid))
}

function userNamed(uid: number): { readonly name: string; readonly gid: number } | undefined {
  const lines = fileOf('passwd').split('\n')
  const [name, , , gid] =
    lines.map((line) => line.split(':')).find((one) => one[2] === `${uid}`) ?? []
  return name ? { name, gid: Number(gid) } : undefined
}

const distinct = (ids: readonly (number | undefined)[]) => [
  ...new Set(ids.filter((id) => id !== undefined)),
]

/** @returns the ids of a user and its group, or the id of a group; empty if there is none */
function idsOf(database: 'passwd' | 'group', name: string): readonly number[] {
  if (/^\d+$/.test(name)) return [Number(name)]
  const line = lineOf(fileOf(database), name) ?? lineOf(getent(database, name), name)
  return (
    line
      ?.split(':')
      .slice(2, 4)
      .filter((id) => /^\d+$/.test(id))
      .map(Number) ?? []
  )
}

const lineOf = (text: string, name: string) =>
  text.split('\n').find((line) => line.startsWith(`${name}:`))

function fileOf(database: string): string {
  try {
    return readFileSync(`/etc/${database}`, 'utf8')
  } catch {
    return ''
  }
}

/** Finds users that are not in the local files, such as those in LDAP. */
function getent(database: string, name: string): string {
  try {
    return execFileSync('getent', [database, '--', name], {
      encoding: 'utf8',
      timeout: 1000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return ''
  }
}

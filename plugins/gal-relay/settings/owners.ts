// The users whose files are trusted (trusted-file.ts): those that Haraka runs as or will run as. A process that
// root has started, or the gal-relay command, cannot tell that from its own user id.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { statsOf, type Trusted } from '../trusted-file'
import { configDir, queueFolder, readIniFile } from './haraka-files'

/**
 * `user` and `group` of smtp.ini; the owner of `queue/`, which is the user that Haraka runs as under systemd; and
 * the owner of `config/`, who can make Haraka do anything anyway.
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

/** The user that Haraka runs as, according to its files. */
export interface HarakaUser {
  /** Its name or number. */
  readonly name: string
  readonly uid: number
  /** Possibly more groups than it really has. */
  readonly gids: readonly number[]
  /** Whether `smtp.ini` names it; otherwise it is the owner of `queue/`. */
  readonly isConfigured: boolean
}

/** @returns undefined for root, or if unknown */
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

/** The groups that name the user as a member. */
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

/** @returns the ids of the user and its group, or of the group; nothing if there is none */
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

/** For users from other sources, such as LDAP. */
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

// Whose files are believed (trusted-file.ts): those of whoever Haraka runs as or will run as, which a
// process that root has started does not know from its own id, nor does the gal-relay command.
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Trusted } from '../trusted-file'
import { configDir, readIniFile } from './haraka-files'

/**
 * `user` and `group` of smtp.ini; whoever owns `queue/`, which is the user that Haraka runs as where
 * systemd starts it; and whoever owns `config/`, who can have Haraka do anything as it is.
 */
export function trustedOwners(config: Haraka.Config): Trusted {
  const { main = {} } = readIniFile(config, 'smtp.ini')
  const user = main.user ? idsOf('passwd', String(main.user)) : []
  const group = main.group ? idsOf('group', String(main.group)) : []
  const folder = configDir(config)
  const queue = statSync(path.resolve(folder, '..', 'queue'), { throwIfNoEntry: false })
  const own = statSync(folder, { throwIfNoEntry: false })
  const users = [user[0], queue?.uid, own?.uid]
  // Root's folders may belong to any group.
  const groups = [user[1], group[0], queue?.uid === 0 ? undefined : queue?.gid]
  return { users: distinct(users), groups: distinct(groups) }
}

const distinct = (ids: readonly (number | undefined)[]) => [
  ...new Set(ids.filter((id) => id !== undefined)),
]

/** @returns the user's id and that of its group, or the group's; nothing when there is none */
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

/** For users that are kept elsewhere, as in LDAP. */
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

// Files that root can read but the user that Haraka changes to at its start cannot: a reload, or
// the next connection to the directory, would then fail.
import { type Stats, statSync } from 'node:fs'
import path from 'node:path'
import { configDir, readIniFile } from '../settings/haraka-files'
import type { Settings } from '../settings/settings'

/** @returns a sentence for each such file */
export function unreadable(
  config: Haraka.Config,
  { directories, redis }: Settings,
): readonly string[] {
  const user = readIniFile(config, 'smtp.ini').main?.user
  if (!user || user === 'root') return []
  const own = ['gal_relay.ini', 'host_list'].map((name) => path.join(configDir(config), name))
  const named = directories.all.flatMap(({ ldap, snapshot }) => {
    const { bind_password_file, tls_key, tls_cert, tls_ca } = ldap
    return [bind_password_file, tls_key, tls_cert, tls_ca, snapshot.key_file].filter(Boolean)
  })
  const ofRedis = redis ? [redis.password_file, redis.tls_ca].filter(Boolean) : []
  return [...own, ...new Set([...named, ...ofRedis])].flatMap((file) => {
    const stats = readableStats(file)
    if (stats?.uid !== 0 || (stats.mode & 0o077) !== 0) return []
    const mode = (stats.mode & 0o777).toString(8)
    return [
      `${file} belongs to root and nobody else may read it (mode ${mode}), but Haraka runs as ` +
        `${user} (user in config/smtp.ini): chown ${user} ${file}`,
    ]
  })
}

/** @returns `undefined` if the file is missing or we may not look; other checks report that */
function readableStats(file: string): Stats | undefined {
  try {
    return statSync(file)
  } catch {
    return undefined
  }
}

// Finds files with a secret in them that every user of the machine can read.
import { statSync } from 'node:fs'
import path from 'node:path'
import { hopsOf, type NextHop } from '../routing/routes'
import { configDir } from '../settings/haraka-files'
import type { Settings } from '../settings/settings'

/** @returns a sentence for each such file */
export function exposedFiles(config: Haraka.Config, settings: Settings): readonly string[] {
  const secrets: readonly (readonly [what: string, file: string])[] = [
    ...settings.directories.all.flatMap(({ ldap, snapshot }) => [
      ['bind_password_file', ldap.bind_password_file] as const,
      ['tls_key', ldap.tls_key] as const,
      ['key_file', snapshot.key_file] as const,
    ]),
    ['password_file', settings.redis?.password_file ?? ''],
    ['the password in', holdsPassword(settings) ? iniOf(config) : ''],
  ]
  return secrets.flatMap(([what, file]) => {
    const mode = file ? modeForAll(file) : undefined
    if (mode === undefined) return []
    return [
      `${what} ${file} can be read by every user of this machine (mode ${mode}): restrict it to ` +
        `Haraka's user or group with chmod o-r ${file}`,
    ]
  })
}

const iniOf = (config: Haraka.Config) => path.join(configDir(config), 'gal_relay.ini')

function holdsPassword({ directories, policies, redis }: Settings): boolean {
  // All listeners share the same rows and hosts.
  const [policy] = policies.values()
  const { routes, mailboxHosts } = policy?.routing ?? {}
  const hasPassword = ({ password }: NextHop) => password !== undefined
  return (
    directories.all.some(({ ldap }) => ldap.bind_password) ||
    (!redis?.isHarakas && redis?.url.some(({ password }) => password !== undefined)) ||
    Boolean(routes?.rows.some(({ routeTo }) => hopsOf(routeTo).some(hasPassword))) ||
    [...(mailboxHosts?.values() ?? [])].some(({ hops }) => hops.some(hasPassword))
  )
}

/** @returns the file's mode in octal if all users can reach and read it, as far as we can tell */
function modeForAll(file: string): string | undefined {
  try {
    const { mode } = statSync(file)
    if ((mode & 0o004) === 0) return undefined
    for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
      if ((statSync(folder).mode & 0o001) === 0) return undefined
      if (folder === path.dirname(folder)) return (mode & 0o777).toString(8).padStart(4, '0')
    }
  } catch {
    return undefined
  }
}

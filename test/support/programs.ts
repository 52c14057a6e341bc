// Which of the servers that the tests start are installed here. A missing one is a reason to skip on
// a developer's machine and a failure where CI=true, so that a green run there means all of it ran.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/libexec', '/sbin']

/** @returns the program's full path, or undefined when it is not installed */
export function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * For the `skip` option of `test()` and `describe()`.
 * @returns false when all the programs are here, or else the reason to skip
 * @throws Error where CI=true and one is missing
 */
export function skipWithout(...names: string[]): string | false {
  const missing = names.filter((name) => !findProgram(name))
  if (missing.length === 0) return false
  const reason = `not installed: ${missing.join(', ')}`
  if (process.env.CI === 'true') throw new Error(reason)
  return reason
}

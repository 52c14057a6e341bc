// Which of the programs that the tests start are installed here. Tests for which one is missing are skipped,
// except with CI=true, where they fail: there, a green run means that all tests ran.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/libexec', '/sbin']

/** @returns the full path of the program, or `undefined` if it is not installed */
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
 * @returns false if all of the programs are installed, otherwise the reason to skip
 * @throws Error if CI=true and one is missing
 */
export function skipWithout(...names: string[]): string | false {
  const missing = names.filter((name) => !findProgram(name))
  if (missing.length === 0) return false
  const reason = `not installed: ${missing.join(', ')}`
  if (process.env.CI === 'true') throw new Error(reason)
  return reason
}

// Any release of Haraka and of Node.js for the tests. HARAKA_RELEASE and HARAKA_NODE choose the ones that
// Haraka is started with; the defaults are the Haraka that this package is developed with, and the Node.js that
// runs the tests. Missing releases are installed with npm at first use, and kept in the folder for temporary
// files.
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

// One test hides Node for a while.
const { execPath } = process

/** `3.0.3`; `undefined`: the one that this package is developed with. */
export const RELEASE = process.env.HARAKA_RELEASE || undefined

/** The folder of that Haraka. */
export async function harakaFolder(release = RELEASE): Promise<string> {
  if (release === undefined) return path.dirname(require.resolve('haraka/package.json'))
  // Up to 3.2 the name of the package begins with a capital letter.
  const name = isAtLeast(release, '3.3') ? 'haraka' : 'Haraka'
  return path.join(await installed(`${name}@${release}`), 'node_modules', name)
}

/** The program that Haraka is run with. */
export async function nodeProgram(major = process.env.HARAKA_NODE): Promise<string> {
  if (!major) return execPath
  const folder = await installed(`node-${process.platform}-${process.arch}@${major}`)
  const name = `node-${process.platform}-${process.arch}`
  return path.join(folder, 'node_modules', name, 'bin', 'node')
}

/** The version of the Haraka that the tests run with. */
export async function harakaVersion(): Promise<string> {
  const file = path.join(await harakaFolder(), 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

export function isAtLeast(release: string, other: string): boolean {
  return release.localeCompare(other, 'en', { numeric: true }) >= 0
}

/** @returns a folder with node_modules. Tests in other processes may ask for the same one at the same time. */
async function installed(spec: string): Promise<string> {
  const all = path.join(tmpdir(), `gal-relay-releases-${userInfo().uid}`)
  const folder = path.join(all, spec.toLowerCase())
  if (existsSync(folder)) return folder
  mkdirSync(all, { recursive: true, mode: 0o700 })
  const fresh = mkdtempSync(`${folder}-`)
  try {
    const options = [
      '--prefix',
      fresh,
      '--no-audit',
      '--no-fund',
      '--no-save',
      '--prefer-offline',
      '--ignore-scripts',
    ]
    const env = Object.fromEntries(
      // npm test sets variables that refer to this package.
      Object.entries(process.env).filter(
        ([key]) => !/^npm_(?!config_)|^npm_config_local/.test(key),
      ),
    )
    await promisify(execFile)('npm', ['install', ...options, spec], { env, maxBuffer: 1 << 24 })
    renameSync(fresh, folder)
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    if (!existsSync(folder)) throw error
  }
  return folder
}

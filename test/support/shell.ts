// Runs the commands of the documentation in a shell, as a postmaster does.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { REPOSITORY } from './haraka'
import { findProgram } from './programs'

/** @returns what the commands printed; @throws Error with that if one fails */
export async function shell(
  commands: string,
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const options = { cwd, env: { ...plainEnvironment(), ...env }, maxBuffer: 1 << 24 }
  const { stdout } = await promisify(execFile)(
    'bash',
    ['-euo', 'pipefail', '-c', commands],
    options,
  )
  return stdout
}

/** Runs npm as a postmaster does, outside of the `npm test` that this may be part of. */
export function npm(cwd: string, ...args: string[]) {
  return promisify(execFile)('npm', args, { cwd, env: plainEnvironment(), maxBuffer: 1 << 24 })
}

/** This package as it would be published. */
export interface PackedPackage {
  readonly file: string
  /** The paths of the files in it. */
  readonly contents: readonly string[]
}

/** Packs dist/ as it is: building it would empty it while other tests use it. The test files of one run share it. */
export async function packedPackage(): Promise<PackedPackage> {
  const shared = path.join(runFolder(), 'packed')
  if (!existsSync(shared)) {
    const folder = mkdtempSync(`${shared}-`)
    const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
    const { stdout } = await npm(REPOSITORY, ...pack)
    writeFileSync(path.join(folder, 'pack.json'), stdout)
    try {
      renameSync(folder, shared)
    } catch (error) {
      // Another test file was faster.
      if (!existsSync(shared)) throw error
    }
  }
  const [{ filename, files }] = JSON.parse(
    readFileSync(path.join(shared, 'pack.json'), 'utf8'),
  ) as [{ readonly filename: string; readonly files: readonly { readonly path: string }[] }]
  return { file: path.join(shared, filename), contents: files.map((one) => one.path) }
}

let ownFolder: string | undefined

/** The folder of the test run, or of this process if the test file is run by itself. */
function runFolder(): string {
  const { TEST_RUN_FOLDER } = process.env
  if (TEST_RUN_FOLDER) return TEST_RUN_FOLDER
  if (ownFolder) return ownFolder
  const folder = mkdtempSync(path.join(tmpdir(), 'run-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  ownFolder = folder
  return folder
}

function plainEnvironment(): Record<string, string | undefined> {
  const inherited = /^npm_(?!config_)|^npm_config_local_prefix$|^HARAKA$|^NODE_TEST_CONTEXT$/i
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !inherited.test(name)))
}

/** Writes programs that are to take precedence over others of their names. @returns their folder, for PATH */
export function shims(folder: string, programs: Readonly<Record<string, string>>): string {
  const bin = path.join(folder, 'bin')
  mkdirSync(bin)
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(path.join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(path.join(bin, name), 0o755)
  }
  return bin
}

export function which(name: string): string {
  const program = findProgram(name)
  assert.ok(program, name)
  return program
}

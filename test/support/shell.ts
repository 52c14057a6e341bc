// The commands of the documentation, run by a shell as a postmaster's.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { REPOSITORY } from './haraka'
import { findProgram } from './programs'

/** @returns what it printed; @throws Error with that, when a command fails */
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

/** npm as a postmaster runs it, not as part of the `npm test` that this may run under. */
export function npm(cwd: string, ...args: string[]) {
  return promisify(execFile)('npm', args, { cwd, env: plainEnvironment(), maxBuffer: 1 << 24 })
}

/**
 * Packs this package as it would be published; dist/ as it is, since building it would empty it under
 * other tests.
 *
 * @returns the packed file, in that folder, and the paths of what is in it
 */
export async function packInto(
  folder: string,
): Promise<{ readonly file: string; readonly contents: readonly string[] }> {
  const { stdout } = await npm(
    REPOSITORY,
    ...['pack', '--ignore-scripts', '--json', '--pack-destination', folder],
  )
  const [{ filename, files }] = JSON.parse(stdout) as [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ]
  return { file: path.join(folder, filename), contents: files.map((one) => one.path) }
}

function plainEnvironment(): Record<string, string | undefined> {
  const inherited = /^npm_(?!config_)|^npm_config_local_prefix$|^HARAKA$|^NODE_TEST_CONTEXT$/i
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !inherited.test(name)))
}

/** Puts programs of these names before all others. @returns their folder */
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

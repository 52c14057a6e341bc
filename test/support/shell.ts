// Runs the commands of the documentation in a shell, as a postmaster does.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { REPOSITORY } from './haraka'
import { findProgram } from './programs'

/** @returns the output. @throws Error with the output, if a command fails */
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

/** Runs npm as a postmaster does, without the environment of an `npm test` that this may be part of. */
export function npm(cwd: string, ...args: string[]) {
  return promisify(execFile)('npm', args, { cwd, env: plainEnvironment(), maxBuffer: 1 << 24 })
}

/**
 * Packs this package as it would be published. dist/ is packed as it is, because a build would remove it
 * while other tests use it.
 *
 * @returns the name of the package file in that folder, and the paths of the files in it
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

/** Writes programs with these names. @returns their folder, for the front of PATH */
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

// Runs the compiled gal-relay command as a process of its own, as a postmaster does.
import { execFile } from 'node:child_process'
import path from 'node:path'
import { REPOSITORY } from './haraka'

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export const COMMAND = path.join(REPOSITORY, 'dist', 'plugins', 'gal-relay', 'cli', 'main.js')

export interface CommandOptions {
  /** Default: a folder that is no install. */
  readonly cwd?: string
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

export function runCommand(
  args: readonly string[],
  { cwd = '/', env = {} }: CommandOptions = {},
): Promise<CommandResult> {
  const options = {
    cwd,
    env: { ...process.env, HARAKA: undefined, NODE_TEST_CONTEXT: undefined, ...env },
    maxBuffer: 1 << 28,
  }
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [COMMAND, ...args], options, (error, stdout, stderr) => {
      const code = error ? error.code : 0
      if (typeof code === 'number') resolve({ code, stdout, stderr })
      else reject(error)
    })
  })
}

/** The same with `--json`. @throws Error with all that it printed, when that is not one JSON object */
export async function runJson<T>(
  args: readonly string[],
  options?: CommandOptions,
): Promise<{ readonly code: number; readonly json: T }> {
  const { code, stdout, stderr } = await runCommand(['--json', ...args], options)
  try {
    return { code, json: JSON.parse(stdout) as T }
  } catch {
    throw new Error(`exit code ${code}, not one JSON object:\n${stdout}${stderr}`)
  }
}

// Runs the compiled gal-relay command as a process of its own, as a postmaster does; or many times in
// one process, where only the answers matter.
import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { REPOSITORY } from './haraka'

// One test hides Node for a while.
const { execPath } = process

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
  /** On standard input; default: nothing. */
  readonly input?: string
}

export function runCommand(
  args: readonly string[],
  { cwd = '/', env = {}, input = '' }: CommandOptions = {},
): Promise<CommandResult> {
  const options = {
    cwd,
    env: { ...process.env, HARAKA: undefined, NODE_TEST_CONTEXT: undefined, ...env },
    maxBuffer: 1 << 28,
  }
  return new Promise((resolve, reject) => {
    const child = execFile(execPath, [COMMAND, ...args], options, (error, stdout, stderr) => {
      const code = error ? error.code : 0
      if (typeof code === 'number') resolve({ code, stdout, stderr })
      else reject(error)
    })
    // Most do not read it.
    child.stdin?.on('error', () => {}).end(input)
  })
}

/** The same with `--json`. @throws Error with all that it printed, when that is not one JSON object */
export async function runJson<T>(
  args: readonly string[],
  options?: CommandOptions,
): Promise<JsonResult<T>> {
  return jsonOf<T>(await runCommand(['--json', ...args], options))
}

export interface JsonResult<T> {
  readonly code: number
  readonly json: T
}

/** The command for one install, loaded once. */
export interface LoadedCommand {
  /** As `runCommand`; one after the other. */
  run(args: readonly string[]): Promise<CommandResult>
  /** As `runJson`; one after the other. */
  runJson<T>(args: readonly string[]): Promise<JsonResult<T>>
  stop(): Promise<void>
}

export interface LoadOptions {
  /** Default: a folder that is no install. */
  readonly cwd?: string
  /** The user, and the group of the same number, that it runs as; only root may say so. */
  readonly uid?: number
}

export function loadCommand({ cwd = '/', uid }: LoadOptions = {}): LoadedCommand {
  const env = { ...process.env, HARAKA: undefined, NODE_TEST_CONTEXT: undefined }
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = fork(path.join(__dirname, 'command-process.js'), {
    ...{ cwd, env, execArgv: [], ...user },
  })
  const exited = once(child, 'exit')
  const ended = exited.then(() => {
    throw new Error('the process with the command ended')
  })
  ended.catch(() => {})
  const run = async (args: readonly string[]): Promise<CommandResult> => {
    const answer = once(child, 'message')
    child.send(args)
    const [result] = await Promise.race([answer, ended])
    return result as CommandResult
  }
  return {
    run,
    runJson: async <T>(args: readonly string[]) => jsonOf<T>(await run(['--json', ...args])),
    async stop() {
      child.kill()
      await exited
    },
  }
}

function jsonOf<T>({ code, stdout, stderr }: CommandResult): JsonResult<T> {
  try {
    return { code, json: JSON.parse(stdout) as T }
  } catch {
    throw new Error(`exit code ${code}, not one JSON object:\n${stdout}${stderr}`)
  }
}

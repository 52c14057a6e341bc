// Runs the compiled gal-relay command: in a process of its own, as a postmaster does, or many times in one
// process, for tests of its output only. Starting Node and loading the command takes most of a run's time.
import { type ChildProcess, execFile, fork } from 'node:child_process'
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

/** One run in a process that has loaded the command. */
export interface CommandRun extends Required<CommandOptions> {
  readonly args: readonly string[]
}

const withDefaults = ({ cwd = '/', env = {}, input = '' }: CommandOptions) => ({
  cwd,
  env: { ...process.env, HARAKA: undefined, NODE_TEST_CONTEXT: undefined, ...env },
  input,
})

export function runCommand(
  args: readonly string[],
  commandOptions: CommandOptions = {},
): Promise<CommandResult> {
  const { cwd, env, input } = withDefaults(commandOptions)
  const options = { cwd, env, maxBuffer: 1 << 28 }
  return new Promise((resolve, reject) => {
    const child = execFile(execPath, [COMMAND, ...args], options, (error, stdout, stderr) => {
      const code = error ? error.code : 0
      if (typeof code === 'number') resolve({ code, stdout, stderr })
      else reject(error)
    })
    // Most subcommands do not read it.
    child.stdin?.on('error', () => {}).end(input)
  })
}

/** The same with `--json`. @throws Error with all that it printed, if that is not one JSON object */
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

/** The command in a process that has loaded it, for tests of its output only. */
export interface LoadedCommand {
  /** Like the function of the same name, but in that process, one run after the other. */
  runCommand(args: readonly string[], options?: CommandOptions): Promise<CommandResult>
  runJson<T>(args: readonly string[], options?: CommandOptions): Promise<JsonResult<T>>
}

/**
 * Starts the process at the first use. It ends with the test file.
 * @param uid the user, and the group of the same number, that it runs as; only root may say so
 */
export function loadCommand(uid?: number): LoadedCommand {
  let child: ChildProcess | undefined
  let before: Promise<unknown> = Promise.resolve()
  async function runNext(args: readonly string[], options: CommandOptions): Promise<CommandResult> {
    child ??= startCommandProcess(uid)
    // While it runs a command, it keeps the test file from ending.
    child.ref()
    child.channel?.ref()
    const ended = new AbortController()
    const { signal } = ended
    try {
      child.send({ args, ...withDefaults(options) } satisfies CommandRun)
      const exit = once(child, 'exit', { signal }).then(() => {
        throw new Error('the process with the command ended')
      })
      const [result] = await Promise.race([once(child, 'message', { signal }), exit])
      return result as CommandResult
    } finally {
      ended.abort()
      child.unref()
      child.channel?.unref()
    }
  }
  const runLoaded = (args: readonly string[], options: CommandOptions = {}) => {
    const result = before.then(() => runNext(args, options))
    before = result.catch(() => {})
    return result
  }
  return {
    runCommand: runLoaded,
    runJson: async <T>(args: readonly string[], options?: CommandOptions) =>
      jsonOf<T>(await runLoaded(['--json', ...args], options)),
  }
}

/**
 * The first run of each subcommand has a process of its own, which must end by itself, and so has a run with
 * `NODE_OPTIONS`. All other runs share one process.
 */
export function loadCommandAfterFirst(): LoadedCommand {
  const loaded = loadCommand()
  const hasEnded = new Set<string>()
  const run = (args: readonly string[], options: CommandOptions = {}) => {
    const name = args.find((one) => !one.startsWith('-')) ?? ''
    const isAlone = !hasEnded.has(name) || options.env?.NODE_OPTIONS !== undefined
    hasEnded.add(name)
    return isAlone ? runCommand(args, options) : loaded.runCommand(args, options)
  }
  return {
    runCommand: run,
    runJson: async <T>(args: readonly string[], options?: CommandOptions) =>
      jsonOf<T>(await run(['--json', ...args], options)),
  }
}

function startCommandProcess(uid: number | undefined): ChildProcess {
  const user = uid === undefined ? {} : { uid, gid: uid }
  const child = fork(path.join(__dirname, 'command-process.js'), { execArgv: [], ...user })
  process.once('exit', () => child.kill())
  return child
}

function jsonOf<T>({ code, stdout, stderr }: CommandResult): JsonResult<T> {
  try {
    return { code, json: JSON.parse(stdout) as T }
  } catch {
    throw new Error(`exit code ${code}, not one JSON object:\n${stdout}${stderr}`)
  }
}

// A child process of a test: what it prints is collected and can be waited for; it is ended by its
// process id and does not outlive the test that started it.
import { type ChildProcess, spawn } from 'node:child_process'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Child {
  readonly pid: number
  /** Settles when the process has ended and all it printed has been read. */
  readonly exited: Promise<Exit>
  /** Standard output and standard error as they came. */
  output(): string
  /**
   * The first line that matches, printed already or to come.
   * @param within milliseconds; the default is for a machine that has much else to do
   * @param from skips that many characters of `output()`, to wait for something new
   * @throws Error with the end of the output, when the process ends or the time runs out first
   */
  waitForLine(pattern: RegExp, within?: number, from?: number): Promise<string>
  /** Sends the signal, and SIGKILL when the process is still there after `patience` milliseconds. */
  end(signal?: NodeJS.Signals, patience?: number): Promise<Exit>
}

export interface ChildOptions {
  readonly cwd?: string
  /** Added to the environment of this process; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Called with each line as it comes. */
  readonly onLine?: (line: string) => void
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** @throws Error when the program cannot be started */
export async function startChild(
  program: string,
  args: readonly string[],
  options: ChildOptions = {},
): Promise<Child> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
  running.add(child)

  let output = ''
  let told = 0
  const tellLines = () => {
    for (let end = output.indexOf('\n', told); end >= 0; end = output.indexOf('\n', told)) {
      options.onLine?.(output.slice(told, end))
      told = end + 1
    }
  }
  const onOutput = new Set<() => void>(options.onLine ? [tellLines] : [])
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      for (const look of onOutput) look()
    })
  }

  let ended = false
  const exited = new Promise<Exit>((resolve) => {
    const settle = (code: number | null, signal: NodeJS.Signals | null) => {
      ended = true
      resolve({ code, signal })
      for (const look of onOutput) look()
    }
    child.once('close', settle)
    // grandchildren may hold the pipes open longer than anyone wants to wait
    child.once('exit', (code, signal) => {
      running.delete(child)
      setTimeout(settle, 1000, code, signal).unref()
    })
  })

  function waitForLine(pattern: RegExp, within = 60_000, from = 0): Promise<string> {
    return new Promise((resolve, reject) => {
      let start = from
      const look = () => {
        for (let end = output.indexOf('\n', start); end >= 0; end = output.indexOf('\n', start)) {
          const line = output.slice(start, end)
          start = end + 1
          if (pattern.test(line)) return settle(() => resolve(line))
        }
        if (ended) settle(() => reject(failure('it ended')))
      }
      const settle = (how: () => void) => {
        clearTimeout(timer)
        onOutput.delete(look)
        how()
      }
      const failure = (what: string) =>
        new Error(`no line like ${pattern} of ${program}: ${what}\n${output.slice(-4000)}`)
      const timer = setTimeout(() => settle(() => reject(failure(`${within} ms passed`))), within)
      onOutput.add(look)
      look()
    })
  }

  async function end(signal: NodeJS.Signals = 'SIGTERM', patience = 10_000): Promise<Exit> {
    if (ended || child.exitCode !== null || child.signalCode !== null) return exited
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), patience)
    try {
      return await exited
    } finally {
      clearTimeout(timer)
    }
  }

  return { pid: child.pid ?? 0, exited, output: () => output, waitForLine, end }
}

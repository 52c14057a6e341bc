// A child process of a test. Its output is collected, and the test can wait for a line. It is ended by its
// process id, and does not outlive the test that started it.
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Child {
  readonly pid: number
  /** Settles when the process has ended and all its output has been read. */
  readonly exited: Promise<Exit>
  /** Standard output and standard error, in the order in which they came. */
  output(): string
  /** Discards the output so far, because the length of a string is limited. */
  forget(): void
  /**
   * Waits for the first line that matches, which may have been printed already.
   * @param within milliseconds; the default suits a busy machine
   * @param from skips that many characters of `output()`, to wait for something new
   * @throws Error with the last of the output, if the process ends or the time runs out first
   */
  waitForLine(pattern: RegExp, within?: number, from?: number): Promise<string>
  /** Sends the signal, and SIGKILL if the process has not ended after `patience` milliseconds. */
  end(signal?: NodeJS.Signals, patience?: number): Promise<Exit>
}

export interface ChildOptions {
  readonly cwd?: string
  /** Added to the environment of this process; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Called with each line as it comes. */
  readonly onLine?: (line: string) => void
}

interface Watcher {
  line(line: string): void
  end(): void
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
  // The beginning of a line whose end has not come yet. Searching the whole output, which may be hundreds
  // of megabytes, would take longer and longer.
  let begun = ''
  const watchers = new Set<Watcher>()
  if (options.onLine) watchers.add({ line: options.onLine, end() {} })
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      const news = begun + text
      const end = news.lastIndexOf('\n') + 1
      begun = news.slice(end)
      if (watchers.size === 0) return
      for (const line of linesOf(news.slice(0, end))) {
        for (const watcher of watchers) watcher.line(line)
      }
    })
  }

  let ended = false
  const exited = new Promise<Exit>((resolve) => {
    const settle = (code: number | null, signal: NodeJS.Signals | null) => {
      ended = true
      resolve({ code, signal })
      for (const watcher of watchers) watcher.end()
    }
    child.once('close', settle)
    // Grandchildren may hold the pipes open for a long time.
    child.once('exit', (code, signal) => {
      running.delete(child)
      setTimeout(settle, 1000, code, signal).unref()
    })
  })

  function waitForLine(pattern: RegExp, within = 60_000, from = 0): Promise<string> {
    return new Promise((resolve, reject) => {
      const failure = (what: string) =>
        new Error(`no line like ${pattern} of ${program}: ${what}\n${output.slice(-4000)}`)
      const settle = (how: () => void) => {
        clearTimeout(timer)
        watchers.delete(watcher)
        how()
      }
      const watcher: Watcher = {
        line: (line) => pattern.test(line) && settle(() => resolve(line)),
        end: () => settle(() => reject(failure('it ended'))),
      }
      const timer = setTimeout(() => settle(() => reject(failure(`${within} ms passed`))), within)
      const printed = linesOf(output.slice(from, Math.max(0, output.length - begun.length)))
      const known = printed.find((line) => pattern.test(line))
      if (known !== undefined) settle(() => resolve(known))
      else if (ended) watcher.end()
      else watchers.add(watcher)
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

  const forget = () => {
    output = ''
  }

  return { pid: child.pid ?? 0, exited, output: () => output, forget, waitForLine, end }
}

/** The memory of the process and its descendants, in megabytes. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const own = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
  return childrenOf(pid).reduce((sum, child) => sum + memoryOf(child), own)
}

/** @param text whole lines */
function linesOf(text: string): string[] {
  return text.split('\n').slice(0, -1)
}

/** The child processes of this process that are alive. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number),
  )
}

// A real Redis for a test, with its own folder, on a free port of loopback. It is ended by its process id.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { freePort, untilListening } from './ports'
import { findProgram } from './programs'

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Runs redis-cli. @returns its output */
  run(...args: string[]): Promise<string>
  /** SIGSTOP: the system still accepts connections, but Redis does not answer. */
  pause(): void
  resume(): void
  kill(): Promise<void>
  /** Starts it again on the same port, without its data. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface RedisServerOptions {
  /** Lines of redis.conf. */
  readonly conf?: readonly string[]
  readonly password?: string
  /** A sentinel, which monitors other servers and holds no data. */
  readonly isSentinel?: boolean
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export async function startRedis({
  conf = [],
  password = '',
  isSentinel = false,
}: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'redis-'))
  const port = await freePort()
  const file = path.join(folder, 'redis.conf')
  const lines = [
    ...[`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`],
    ...(isSentinel ? [] : ['save ""', 'appendonly no']),
    ...(password ? [`requirepass ${password}`] : []),
    ...conf,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const args = isSentinel ? [file, '--sentinel'] : [file]
  let child = await launch()

  async function launch(): Promise<ChildProcess> {
    const started = spawn(findProgram('redis-server') ?? 'redis-server', args, {
      stdio: 'ignore',
    })
    running.add(started)
    started.once('exit', () => running.delete(started))
    await untilListening(port)
    return started
  }

  async function kill(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    run(...args) {
      const all = ['-p', String(port), ...(password ? ['-a', password, '--no-auth-warning'] : [])]
      return new Promise((resolve, reject) => {
        execFile('redis-cli', [...all, ...args], (error, stdout) =>
          error ? reject(error) : resolve(stdout.trim()),
        )
      })
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    async restart() {
      await kill()
      child = await launch()
    },
    async stop() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

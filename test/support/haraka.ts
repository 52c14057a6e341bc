// A real Haraka for a test: its own process and its own configuration in a temporary folder, on free ports
// of loopback. The test can read its log and its queues. No mail leaves the machine: the outbound queue
// keeps its messages as files.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import path from 'node:path'
import { freePorts } from './ports'
import { type Child, type Exit, startChild } from './processes'
import { harakaFolder, nodeProgram } from './releases'

export interface HarakaOptions {
  /** `config/gal_relay.ini`; without it the file is absent. */
  readonly ini?: string
  /** `config/host_list`; default empty */
  readonly hostList?: readonly string[]
  /** `config/plugins`, in order; default gal-relay, test-queue. Plugins for other options are added. */
  readonly plugins?: readonly string[]
  /** The number of listeners, each on a free port; default 1 */
  readonly listen?: number
  /** Ports to use instead of free ones. */
  readonly ports?: readonly number[]
  /** `nodes` of `config/smtp.ini`; default 0, one process. `unset` leaves the line out: a cluster of one worker. */
  readonly nodes?: number | 'cpus' | 'unset'
  /** At SIGINT it finishes its work before it ends; default false: it ends at once. */
  readonly isGraceful?: boolean
  /** The release of Haraka; default: see releases.ts */
  readonly release?: string
  /** More files by their path in the install, `config/…` or `plugins/….js`. They replace other files. */
  readonly files?: Readonly<Record<string, string>>
  /** Default info */
  readonly logLevel?: string
  /** Accounts and passwords for AUTH PLAIN and LOGIN, which Haraka offers to private addresses only. */
  readonly auth?: Readonly<Record<string, string>>
  /** Clients must begin with a PROXY line; default true */
  readonly proxy?: boolean
  /** Client host names come from a plugin instead of DNS; default true */
  readonly rdns?: boolean
  /** Haraka's outbound queue delivers; default false: it keeps everything. */
  readonly outbound?: boolean
  /** An install that exists already, instead of a new folder. It is not removed in the end. */
  readonly dir?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The network namespace that it runs in (ip-netns(8)). */
  readonly namespace?: string
  /** Called with each line that Haraka prints. */
  readonly onLine?: (line: string) => void
}

/** A message that the test-queue plugin accepted. */
export interface DeliveredMessage {
  readonly uuid: string
  /** '' for the null sender */
  readonly mail_from: string
  readonly rcpt_to: readonly string[]
  /** `connection.relaying` as other plugins saw it at those two moments */
  readonly relaying: { readonly data_post: boolean; readonly queue: boolean }
  readonly body: Buffer
}

/** A message in Haraka's outbound queue: one for each domain or each recipient, as Haraka split it. */
export interface OutboundMessage {
  readonly file: string
  readonly domain: string
  readonly mail_from: string
  readonly rcpt_to: readonly string[]
  readonly notes: Readonly<Record<string, unknown>>
  /** The whole header of the queue file. */
  readonly todo: Readonly<Record<string, unknown>>
  readonly body: Buffer
}

export interface Haraka {
  /** The install: config/, plugins/, queue/, delivered/ */
  readonly dir: string
  /** The first listener's port. */
  readonly port: number
  readonly ports: readonly number[]
  /** The process started last; in a cluster the master. */
  readonly pid: number
  /** The workers that are ready; without a cluster its one process. */
  readonly workers: readonly number[]
  readonly exited: Promise<Exit>
  log(): string
  /** Discards the log so far. */
  forgetLog(): void
  logLines(pattern: RegExp): string[]
  /** See `Child.waitForLine`. */
  waitForLog(pattern: RegExp, within?: number, from?: number): Promise<string>
  /** @param file its name in `config/` */
  writeConfig(file: string, text: string): void
  /** Writes `config/gal_relay.ini`, and waits until all processes have read it, and `config/log.ini` if that has changed. */
  reload(ini: string): Promise<void>
  /** What the test-queue plugin answers from now on; CONT leaves the message to other plugins. */
  queueAnswers(answer: 'OK' | 'DENY' | 'DENYSOFT' | 'CONT'): void
  /** The messages that test-queue accepted, oldest first. */
  delivered(): DeliveredMessage[]
  /** The names of the files in Haraka's outbound queue. */
  queueFiles(): string[]
  outboundMessages(): OutboundMessage[]
  /** Ends the process, and keeps the folder. Haraka shuts down in order at SIGINT. */
  end(signal?: NodeJS.Signals): Promise<Exit>
  /** Ends it and starts it again, in the same folder on the same ports. */
  restart(signal?: NodeJS.Signals): Promise<void>
  /** Ends it and removes its folder. */
  stop(signal?: NodeJS.Signals): Promise<Exit>
}

/** This checkout: the folder of package.json, seen from `dist/test/support`. */
export const REPOSITORY = path.resolve(__dirname, '..', '..', '..')

const PLUGINS = path.join(REPOSITORY, 'test', 'support', 'plugins')

/**
 * Starts Haraka and waits until all its processes listen and their plugins are ready.
 * @throws Error with all that Haraka printed, if it ends while it starts
 */
export async function startHaraka(options: HarakaOptions = {}): Promise<Haraka> {
  const dir = options.dir ?? mkdtempSync(path.join(tmpdir(), 'haraka-'))
  const removeDir = () => {
    if (!options.dir) rmSync(dir, { recursive: true, force: true })
  }
  try {
    return await startIn(dir, options, removeDir)
  } catch (error) {
    removeDir()
    throw error
  }
}

/** For configurations that must not start. @returns what Haraka printed; @throws Error if it did start */
export async function harakaStartFailure(options: HarakaOptions = {}): Promise<string> {
  const haraka = await startHaraka(options).catch((error: Error) => error.message)
  if (typeof haraka === 'string') return haraka
  await haraka.stop()
  throw new Error(`Haraka started:\n${haraka.log()}`)
}

/** Writes the install that the options describe, for a Haraka that something else starts. */
export function writeInstall(
  dir: string,
  ports: readonly number[],
  options: HarakaOptions = {},
  haraka = path.dirname(require.resolve('haraka/package.json')),
): void {
  const { auth = {}, hostList = [], nodes = 0, plugins = ['gal-relay', 'test-queue'] } = options
  const withAuth = Object.keys(auth).length > 0
  const all = [
    ...(options.rdns === false ? [] : ['test-rdns']),
    ...(withAuth ? ['auth/flat_file'] : []),
    ...plugins,
    'test-harness',
  ]
  const listen = ports.map((port) => `127.0.0.1:${port}`).join(',')
  const files: Record<string, string | undefined> = {
    'config/me': 'mx.test\n',
    'config/smtp.ini': lines([
      `listen=${listen}`,
      ...(nodes === 'unset' ? [] : [`nodes=${nodes}`]),
      ...(options.isGraceful ? ['graceful_shutdown=true'] : []),
    ]),
    'config/log.ini': `[main]\nlevel=${options.logLevel ?? 'info'}\nformat=default\n`,
    ...proxyConfig(haraka, options.proxy ?? true),
    'config/outbound.ini': `disabled=${!options.outbound}\n`,
    'config/plugins': lines(all),
    'config/host_list': lines(hostList),
    'config/gal_relay.ini': options.ini,
    'config/auth_flat_file.ini': withAuth
      ? `[core]\nmethods=PLAIN,LOGIN\nconstrain_sender=false\n[users]\n${lines(Object.entries(auth).map(([user, password]) => `${user}=${password}`))}`
      : undefined,
    ...options.files,
  }
  for (const folder of ['config', 'plugins', 'queue', 'delivered', 'node_modules']) {
    mkdirSync(path.join(dir, folder), { recursive: true })
  }
  for (const [file, text] of Object.entries(files)) {
    if (text === undefined) continue
    mkdirSync(path.dirname(path.join(dir, file)), { recursive: true })
    writeFileSync(path.join(dir, file), text)
  }
  for (const plugin of readdirSync(PLUGINS)) {
    const target = path.join(dir, 'plugins', plugin)
    if (!existsSync(target)) writeFileSync(target, readFileSync(path.join(PLUGINS, plugin)))
  }
  const installed = path.join(dir, 'node_modules', 'haraka-plugin-gal-relay')
  if (!existsSync(installed)) symlinkSync(REPOSITORY, installed, 'junction')
}

async function startIn(
  dir: string,
  options: HarakaOptions,
  removeDir: () => void,
): Promise<Haraka> {
  const { ports, child: first } = await launchOnFreePorts(dir, options)
  let child = first
  const ending = new WeakSet<Child>()
  const tellOfEnd = (one: Child) =>
    void one.exited.then(({ code, signal }) => {
      if (!ending.has(one) && signal === null)
        console.error(`Haraka ended with ${code}:\n${one.output().slice(-4000)}`)
    })
  tellOfEnd(child)
  const end = (signal?: NodeJS.Signals) => {
    ending.add(child)
    return child.end(signal)
  }

  const logLines = (pattern: RegExp) =>
    child
      .output()
      .split('\n')
      .filter((line) => pattern.test(line))
  const queueFiles = () =>
    readdirSync(path.join(dir, 'queue'))
      .filter((file) => !/^\.?__tmp__/.test(file))
      .sort()

  /** The workers whose part of the log has been discarded. */
  let before: readonly number[] = []
  const workers = () => [...before, ...logLines(READY).map((line) => Number(READY.exec(line)?.[1]))]
  const writeConfig = (file: string, text: string) =>
    writeFileSync(path.join(dir, 'config', file), text)

  return {
    dir,
    port: ports[0] ?? 0,
    ports,
    get pid() {
      return child.pid
    },
    get workers() {
      return workers()
    },
    get exited() {
      return child.exited
    },
    log: () => child.output(),
    forgetLog() {
      before = workers()
      child.forget()
    },
    logLines,
    waitForLog: (pattern, within, from) => child.waitForLine(pattern, within, from),
    writeConfig,
    async reload(ini) {
      const from = child.output().length
      writeConfig('gal_relay.ini', ini)
      const pids = new Set([child.pid, ...workers()])
      for (const pid of pids) process.kill(pid, 'SIGWINCH')
      await waitForLines(child, /settings reloaded/, pids.size, from)
    },
    queueAnswers: (answer) => writeFileSync(path.join(dir, 'queue-answer'), answer),
    delivered: () => readDelivered(path.join(dir, 'delivered')),
    queueFiles,
    outboundMessages: () =>
      whileRenamed(() =>
        queueFiles().map((file) => readOutbound(path.join(dir, 'queue', file), file)),
      ),
    end: (signal = 'SIGINT') => end(signal),
    async restart(signal = 'SIGINT') {
      await end(signal)
      before = []
      child = await launch(dir, options)
      tellOfEnd(child)
    },
    async stop(signal = 'SIGINT') {
      const exit = await end(signal)
      removeDir()
      return exit
    },
  }
}

/** Reads files of the outbound queue, again if Haraka has renamed one for its next attempt meanwhile. */
export function whileRenamed<T>(read: () => T): T {
  for (;;) {
    try {
      return read()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

/** Tries again if another test has taken a port before Haraka has. */
async function launchOnFreePorts(
  dir: string,
  options: HarakaOptions,
): Promise<{ ports: readonly number[]; child: Child }> {
  for (let attempt = 1; ; attempt++) {
    const ports = options.ports ?? (await freePorts(options.listen ?? 1))
    writeInstall(dir, ports, options, await harakaFolder(options.release))
    try {
      return { ports, child: await launch(dir, options) }
    } catch (error) {
      if (options.ports || attempt === 3 || !String(error).includes('EADDRINUSE')) throw error
    }
  }
}

const READY = /^test-harness: ready (\d+)$/

const PACKAGES_ON_DEMAND = require.resolve('./packages-on-demand')

async function launch(dir: string, options: HarakaOptions): Promise<Child> {
  const bin = path.join(await harakaFolder(options.release), 'bin', 'haraka')
  const command = [await nodeProgram(), '--require', PACKAGES_ON_DEMAND, bin, '-c', dir]
  const { namespace } = options
  const [program = '', ...args] = namespace
    ? ['ip', 'netns', 'exec', namespace, ...command]
    : command
  const child = await startChild(program, args, {
    cwd: dir,
    env: { NODE_TEST_CONTEXT: undefined, ...options.env },
    onLine: options.onLine,
  })
  try {
    await waitForLines(child, READY, processes(options.nodes))
  } catch {
    await child.end('SIGKILL')
    throw new Error(`Haraka did not start:\n${child.output()}`)
  }
  return child
}

async function waitForLines(child: Child, pattern: RegExp, count: number, from = 0): Promise<void> {
  let seen = from
  for (let waiting = count; waiting > 0; waiting--) {
    const line = await child.waitForLine(pattern, undefined, seen)
    seen = child.output().indexOf(`${line}\n`, seen) + line.length
  }
}

function processes(nodes: HarakaOptions['nodes']): number {
  if (nodes === 'cpus') return availableParallelism()
  return typeof nodes === 'number' ? Math.max(nodes, 1) : 1
}

/** From 3.1 on, Haraka's whole connection.ini, because Haraka does not start with a part of it. */
function proxyConfig(haraka: string, proxy: boolean): Record<string, string> {
  const file = path.join(haraka, 'config', 'connection.ini')
  if (!existsSync(file)) return proxy ? { 'config/haproxy_hosts': '127.0.0.1\n' } : {}
  const original = readFileSync(file, 'utf8')
  const hosts = proxy ? 'hosts[] = 127.0.0.1' : 'hosts[] ='
  return { 'config/connection.ini': original.replace(/^hosts\[\] =$/m, hosts) }
}

function readDelivered(folder: string): DeliveredMessage[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => ({
      ...(JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Omit<
        DeliveredMessage,
        'body'
      >),
      body: readFileSync(path.join(folder, file.replace(/json$/, 'eml'))),
    }))
}

interface Todo extends Record<string, unknown> {
  readonly domain: string
  readonly mail_from: { readonly user: string; readonly host: string }
  readonly rcpt_to: readonly { readonly user: string; readonly host: string }[]
  readonly notes: Readonly<Record<string, unknown>>
}

/** A queue file has the length of its JSON header in four bytes, the header, and the dot-stuffed message. */
function readOutbound(file: string, name: string): OutboundMessage {
  const content = readFileSync(file)
  const headerEnd = 4 + content.readUInt32BE(0)
  const todo = JSON.parse(content.subarray(4, headerEnd).toString('utf8')) as Todo
  const text = (address: { user: string; host: string }) =>
    address.host ? `${address.user}@${address.host}` : (address.user ?? '')
  return {
    file: name,
    domain: todo.domain,
    mail_from: text(todo.mail_from),
    rcpt_to: todo.rcpt_to.map(text),
    notes: todo.notes,
    todo,
    body: Buffer.from(
      content
        .subarray(headerEnd)
        .toString('latin1')
        .replace(/(^|\n)\.\./g, '$1.'),
      'latin1',
    ),
  }
}

function lines(items: readonly string[]): string {
  return items.map((item) => `${item}\n`).join('')
}

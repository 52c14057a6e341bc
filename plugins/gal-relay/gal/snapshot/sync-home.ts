// Sees to it that somebody keeps the list: takes part in the choice of one process among all that use
// the same file, and, when chosen, starts the process that does the work, again and again if need be.
import { type ChildProcess, fork } from 'node:child_process'
import path from 'node:path'
import { every, failed, guard, later } from '../../guard'
import { Backoff } from '../directory/backoff'
import type { Log } from '../log'
import { Lease, lockOf } from './lease'
import type { FromSyncProcess, ToSyncProcess } from './sync-process'
import type { ListSettings, SyncReport } from './syncer'

const PROGRAM = path.join(__dirname, 'sync-process.js')
/** Seconds without a report, after which it stands still. */
const SILENCE = 30
/** One that ran for so long did not fail at once. */
const STABLE = 60_000

const LEFT = 'code 0'
/** After a failure of ours. */
const SOON = 1000

export class SyncHome {
  readonly #settings: ListSettings
  readonly #log: Log
  readonly #lock: string
  readonly #lease: Lease
  readonly #backoff = new Backoff(1000, 60_000)
  #child: ChildProcess | undefined
  #restart: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  #isChosen = false
  #report: SyncReport | undefined

  constructor(settings: ListSettings, log: Log) {
    this.#settings = settings
    this.#log = log
    const { file, trusted } = settings.snapshot
    this.#lock = lockOf(file)
    this.#lease = new Lease({
      file: this.#lock,
      trusted,
      onHeld: () => this.#chosen(),
      onLost: () => this.#dismissed(),
      onError: (error) =>
        log.error(
          `no list can be kept in ${file}, recipients are looked up one by one: ${error.message}`,
        ),
    })
  }

  /** How the list is being kept, when that is done from here. */
  get report(): SyncReport | undefined {
    return this.#report
  }

  start(): void {
    this.#lease.start()
  }

  close(): void {
    this.#dismissed()
    this.#lease.close()
  }

  #chosen(): void {
    this.#isChosen = true
    this.#spawnLater(0)
  }

  #dismissed(): void {
    this.#isChosen = false
    this.#report = undefined
    clearTimeout(this.#restart)
    clearInterval(this.#watch)
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  #spawn(): void {
    const startedAt = performance.now()
    // Not this process's own flags, such as a debugger's port.
    const child = fork(PROGRAM, { execArgv: [], serialization: 'advanced' })
    this.#child = child
    const heard = (message: FromSyncProcess) => this.#heard(message)
    const erred = (error: Error) => {
      this.#log.error(`the process that keeps the list: ${error.message}`)
      // It could not be started, and has no end to tell of.
      if (child.pid === undefined) this.#ended(child, startedAt, error.message)
    }
    const ended = (code: number | null, signal: string | null) =>
      this.#ended(child, startedAt, signal ?? `code ${code}`)
    const again = () => this.#startAgain(child)
    child.on('message', guard('message of the process that keeps the list', heard))
    child.on('error', guard('error of the process that keeps the list', erred, again))
    child.once('exit', guard('end of the process that keeps the list', ended, again))
    const order: ToSyncProcess = {
      settings: this.#settings,
      lease: { file: this.#lock, token: this.#lease.token },
    }
    child.send(order, () => {})
    this.#watchOver(child)
    // Mail goes on or ends without it.
    child.unref()
    child.channel?.unref()
  }

  /** In seconds that this process saw, so that none counts in which it stood still itself. */
  #watchOver(child: ChildProcess): void {
    let silent = 0
    const heard = () => {
      silent = 0
    }
    child.on('message', guard('sign of life of the process that keeps the list', heard))
    clearInterval(this.#watch)
    this.#watch = every(1000, 'watch over the process that keeps the list', () => {
      if (++silent < SILENCE) return
      clearInterval(this.#watch)
      this.#log.error(`the process that keeps the list stands still for ${SILENCE} s`)
      child.kill('SIGKILL')
    }).unref()
  }

  #heard(message: FromSyncProcess): void {
    if (message.kind === 'report') this.#report = message.report
    else if (message.kind === 'failed') failed(message.what, message.error)
    else this.#log[message.level](message.text)
  }

  #ended(child: ChildProcess, startedAt: number, how: string): void {
    if (this.#child !== child || !this.#isChosen) return
    clearInterval(this.#watch)
    this.#child = undefined
    this.#report = undefined
    const wasStable = performance.now() - startedAt > STABLE
    if (wasStable) this.#backoff.reset()
    this.#backoff.failed()
    // By itself it ends when another holds the lease, which this process is about to see.
    if (how !== LEFT) {
      this.#log.error(`the process that keeps the list ended (${how}); another one is started`)
    }
    this.#spawnLater(this.#backoff.delay ?? 0)
  }

  #spawnLater(delay: number): void {
    clearTimeout(this.#restart)
    const spawn = () => this.#spawn()
    const again = () => this.#spawnLater(SOON)
    this.#restart = later(delay, 'restart of the process that keeps the list', spawn, again).unref()
  }

  /** After a failure of ours to see to what became of this one. */
  #startAgain(child: ChildProcess): void {
    if (this.#child !== child || !this.#isChosen) return
    child.kill('SIGKILL')
    this.#child = undefined
    this.#report = undefined
    this.#spawnLater(SOON)
  }
}

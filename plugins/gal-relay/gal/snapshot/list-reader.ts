// Sees to it that the list is kept: by a process of its own, which is started again when it ends. Where
// several workers would do that, one is chosen (keeper-choice.ts).
import { type ChildProcess, fork } from 'node:child_process'
import cluster from 'node:cluster'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import path from 'node:path'
import { every, failed, guard, later, unattended } from '../../guard'
import { Backoff } from '../../ldap/backoff'
import type { Log } from '../../log'
import { ROOT_AND_US, requireOwnFolder } from '../../trusted-file'
import { Claim } from './keeper-choice'
import type { ListSettings } from './list-settings'
import type { FromSyncProcess, ToSyncProcess } from './sync-process'
import type { SyncReport } from './syncer'

const PROGRAM = path.join(__dirname, 'sync-process.js')
const SECOND = 1000
/** Seconds without a report, after which it stands still. */
const SILENCE = 30
/** One that ran for so long did not fail at once. */
const STABLE = 60_000

const NO_MASTER =
  'nobody keeps the list: the master process does not say who is to; after an update of this plugin ' +
  'Haraka must be restarted as a whole'
/** A sign of life; what it says does not matter. */
const ALIVE = 'alive'
/** It ended by itself, because this process stood still. */
const LEFT = 'code 0'

export class ListReader {
  readonly #settings: ListSettings
  readonly #log: Log
  readonly #claim: Claim
  readonly #backoff = new Backoff(1000, 60_000)
  #child: ChildProcess | undefined
  #restart: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  #isChosen = false
  #isClosed = false
  #folderProblem = ''
  #report: SyncReport | undefined

  constructor(settings: ListSettings, log: Log) {
    this.#settings = settings
    this.#log = log
    this.#claim = new Claim(settings.snapshot.file, {
      onChosen: () => this.#chosen(),
      onDismissed: () => this.#dismissed(),
      onUnanswered: () => log.error(NO_MASTER),
    })
  }

  /** How the list is being kept, when that is done from here. */
  get report(): SyncReport | undefined {
    return this.#report
  }

  /** Once there is a folder in which a list may be kept. */
  start(): void {
    const again = () => this.#startLater()
    unattended('start of keeping a list', () => this.#start(), again)
  }

  close(): void {
    this.#isClosed = true
    this.#dismissed()
    this.#claim.close()
  }

  async #start(): Promise<void> {
    const { file, trusted = ROOT_AND_US } = this.#settings.snapshot
    try {
      const folder = path.dirname(file)
      await requireOwnFolder(folder, trusted)
      await access(folder, constants.W_OK)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      if (problem !== this.#folderProblem) {
        const text = `no list can be kept in ${file}, recipients are looked up one by one: ${problem}`
        this.#log.error(text)
      }
      this.#folderProblem = problem
      this.#startLater()
      return
    }
    if (!this.#isClosed) this.#claim.start()
  }

  #startLater(): void {
    clearTimeout(this.#restart)
    if (this.#isClosed) return
    const start = () => this.start()
    this.#restart = later(SECOND, 'the next look at the folder', start, start).unref()
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
    const order: ToSyncProcess = { settings: this.#settings, isReplaceable: cluster.isWorker }
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
    this.#watch = every(SECOND, 'watch over the process that keeps the list', () => {
      if (cluster.isWorker && child.connected) child.send(ALIVE, () => {})
      if (++silent < SILENCE) return
      clearInterval(this.#watch)
      this.#log.error(`the process that keeps the list has not answered for ${SILENCE} s`)
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
    if (how !== LEFT) {
      this.#log.error(`the process that keeps the list ended (${how}); another one is started`)
    }
    this.#spawnLater(this.#backoff.delay ?? 0)
  }

  #spawnLater(delay: number): void {
    clearTimeout(this.#restart)
    const spawn = () => this.#spawn()
    const again = () => this.#spawnLater(SECOND)
    this.#restart = later(delay, 'restart of the process that keeps the list', spawn, again).unref()
  }

  /** After a failure of ours to see to what became of this one. */
  #startAgain(child: ChildProcess): void {
    if (this.#child !== child || !this.#isChosen) return
    child.kill('SIGKILL')
    this.#child = undefined
    this.#report = undefined
    this.#spawnLater(SECOND)
  }
}

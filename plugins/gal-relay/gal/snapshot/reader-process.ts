// Starts the one process that reads and keeps all lists of a server, and restarts it when it ends.
// If several workers would start it, one of them is chosen (keeper-choice.ts).
import { type ChildProcess, fork } from 'node:child_process'
import cluster from 'node:cluster'
import path from 'node:path'
import { every, failed, guard, later, soon } from '../../guard'
import { Backoff } from '../../ldap/backoff'
import {
  countPasswordRefusal,
  knownRefusals,
  type PasswordRefusal,
  sharePasswordRefusals,
} from '../../ldap/credentials'
import type { Log } from '../../log'
import { Claim } from './keeper-choice'
import type { ListSettings } from './list-settings'
import type { Lease } from './reading-lease'
import type { FromSyncProcess, ToSyncProcess } from './sync-messages'
import type { SyncReport } from './syncer'

const PROGRAM = path.join(__dirname, 'sync-process.js')
const SECOND = 1000
/** Seconds without a report after which the process counts as hung. */
const SILENCE = 30
/** A process that ran this long, in milliseconds, did not fail at once. */
const STABLE = 60_000

const NO_MASTER =
  'nobody keeps the list: the master process has not chosen a worker; after an update of this plugin ' +
  'Haraka must be restarted completely'
const ALIVE: ToSyncProcess = { keep: [], drop: [] }
/** The process ended by itself, because this one stood still. */
const LEFT = 'code 0'

/** A list that is to be kept. */
export interface KeptList {
  readonly settings: ListSettings
  readonly log: Log
  /** Until when this server may read the list; set if another one may read it, too. */
  readonly lease: Lease | undefined
  /** How the list is being kept, if this process has it kept. */
  report: SyncReport | undefined
}

class ReaderProcess {
  /** In the order in which they were added. */
  readonly #lists = new Set<KeptList>()
  /** The lists that the process keeps, by their numbers. */
  readonly #sent = new Map<number, KeptList>()
  #lastNumber = 0
  readonly #backoff = new Backoff(1000, 60_000)
  #claim: Claim | undefined
  #isChosen = false
  #child: ChildProcess | undefined
  #restart: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  #isTelling = false
  readonly #tellRefusal = (refusal: PasswordRefusal) => {
    if (this.#child?.connected) this.#child.send({ ...ALIVE, refusals: [refusal] }, () => {})
  }

  constructor() {
    sharePasswordRefusals(this.#tellRefusal)
  }

  add(list: KeptList): void {
    this.#lists.add(list)
    this.#tellSoon()
    if (this.#claim) return
    this.#claim = new Claim({
      onChosen: () => this.#chosen(),
      onDismissed: () => this.#dismissed(),
      onUnanswered: () => this.#say('error', NO_MASTER),
    })
    this.#claim.start()
  }

  remove(list: KeptList): void {
    if (!this.#lists.delete(list)) return
    list.report = undefined
    this.#tellSoon()
    if (this.#lists.size > 0) return
    this.#dismissed()
    this.#claim?.close()
    this.#claim = undefined
  }

  /** Logs once what concerns no single list, even if the line then names some directory. */
  #say(level: keyof Log, text: string): void {
    const [first] = this.#lists
    first?.log[level](text)
  }

  #chosen(): void {
    this.#isChosen = true
    this.#spawnLater(0)
  }

  #dismissed(): void {
    this.#isChosen = false
    clearTimeout(this.#restart)
    this.#leave('SIGKILL')
  }

  #leave(signal?: 'SIGKILL'): void {
    clearInterval(this.#watch)
    if (signal) this.#child?.kill(signal)
    this.#child = undefined
    for (const list of this.#lists) list.report = undefined
    this.#sent.clear()
  }

  #spawn(): void {
    const startedAt = performance.now()
    // Not this process's own flags, such as a debugger's port.
    const child = fork(PROGRAM, { execArgv: [], serialization: 'advanced' })
    this.#child = child
    const heard = (message: FromSyncProcess) => this.#heard(message)
    const erred = (error: Error) => {
      this.#say('error', `the process that keeps the list: ${error.message}`)
      // The process could not be started, so there will be no 'exit' event.
      if (child.pid === undefined) this.#ended(child, startedAt, error.message)
    }
    const ended = (code: number | null, signal: string | null) =>
      this.#ended(child, startedAt, signal ?? `code ${code}`)
    const again = () => this.#startAgain(child)
    child.on('message', guard('message of the process that keeps the list', heard))
    child.on('error', guard('error of the process that keeps the list', erred, again))
    child.once('exit', guard('end of the process that keeps the list', ended, again))
    this.#tell(this.#isReplaceable())
    this.#watchOver(child)
    // The child must not keep this process alive.
    child.unref()
    child.channel?.unref()
  }

  #isReplaceable(): boolean {
    return cluster.isWorker || [...this.#lists].some(({ lease }) => lease)
  }

  #leases(): [number, number][] {
    return [...this.#sent].flatMap(([number, { lease }]) => (lease ? [[number, lease()]] : []))
  }

  /** Collects changes first, because many lists may come or go at once. */
  #tellSoon(): void {
    if (this.#isTelling || !this.#child) return
    this.#isTelling = true
    const done = () => {
      this.#isTelling = false
    }
    const tell = () => {
      done()
      this.#tell()
    }
    soon('lists that come and go', tell, () => {
      done()
      if (this.#child) this.#startAgain(this.#child)
    })
  }

  /** @param isReplaceable only in the first message */
  #tell(isReplaceable?: boolean): void {
    // If two lists have the same file, such as while settings change, the first one counts.
    const byFile = new Map<string, KeptList>()
    for (const list of this.#lists) {
      const { file } = list.settings.snapshot
      if (!byFile.has(file)) byFile.set(file, list)
    }
    const wanted = new Set(byFile.values())
    const drop: number[] = []
    for (const [number, list] of this.#sent) {
      if (wanted.delete(list)) continue
      drop.push(number)
      this.#sent.delete(number)
    }
    const keep: ToSyncProcess['keep'][number][] = []
    for (const list of wanted) {
      this.#sent.set(++this.#lastNumber, list)
      const { settings, lease } = list
      keep.push({ number: this.#lastNumber, settings, readUntil: lease?.() })
    }
    if (keep.length + drop.length === 0) return
    const refusals = isReplaceable === undefined ? [] : knownRefusals()
    this.#child?.send({ keep, drop, refusals, isReplaceable }, () => {})
  }

  /** Counts the seconds itself, so time in which this process stood still does not count. */
  #watchOver(child: ChildProcess): void {
    let silent = 0
    const heard = () => {
      silent = 0
    }
    child.on('message', guard('sign of life of the process that keeps the list', heard))
    clearInterval(this.#watch)
    this.#watch = every(SECOND, 'watch over the process that keeps the list', () => {
      if (this.#isReplaceable() && child.connected) {
        child.send({ ...ALIVE, leases: this.#leases() }, () => {})
      }
      if (++silent < SILENCE) return
      clearInterval(this.#watch)
      this.#say('error', `the process that keeps the list has not answered for ${SILENCE} s`)
      child.kill('SIGKILL')
    }).unref()
  }

  #heard(message: FromSyncProcess): void {
    if (message.kind === 'failed') {
      failed(message.what, message.error)
    } else if (message.kind === 'refused') {
      countPasswordRefusal(message.refusal, this.#tellRefusal)
    } else if (message.kind === 'log') {
      // Messages about lists that have been given up are dropped.
      this.#sent.get(message.list)?.log[message.level](message.text)
    } else {
      for (const [number, report] of message.reports) {
        const list = this.#sent.get(number)
        if (list) list.report = report
      }
    }
  }

  #ended(child: ChildProcess, startedAt: number, how: string): void {
    if (this.#child !== child || !this.#isChosen) return
    this.#leave()
    const wasStable = performance.now() - startedAt > STABLE
    if (wasStable) this.#backoff.reset()
    this.#backoff.failed()
    if (how !== LEFT) {
      this.#say('error', `the process that keeps the list ended (${how}); another one is started`)
    }
    this.#spawnLater(this.#backoff.delay ?? 0)
  }

  #spawnLater(delay: number): void {
    clearTimeout(this.#restart)
    const spawn = () => this.#spawn()
    const again = () => this.#spawnLater(SECOND)
    this.#restart = later(delay, 'restart of the process that keeps the list', spawn, again).unref()
  }

  /** Replaces a process after we failed to handle one of its events. */
  #startAgain(child: ChildProcess): void {
    if (this.#child !== child || !this.#isChosen) return
    this.#leave('SIGKILL')
    this.#spawnLater(SECOND)
  }
}

/** One for all lists of this process. */
export const readerProcess = new ReaderProcess()

// Has a list kept (reader-process.ts) as soon as there is a folder for it.
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import path from 'node:path'
import { later, unattended } from '../../guard'
import type { Log } from '../../log'
import { ROOT_AND_US, requireOwnFolder } from '../../trusted-file'
import type { ListSettings } from './list-settings'
import { type KeptList, readerProcess } from './reader-process'
import type { Lease } from './reading-lease'
import type { SyncReport } from './syncer'

const SECOND = 1000

export class ListReader {
  readonly #settings: ListSettings
  readonly #log: Log
  readonly #list: KeptList
  #restart: NodeJS.Timeout | undefined
  #isClosed = false
  #folderProblem = ''

  /** @param lease until when this server may read the list; set if another one may read it, too */
  constructor(settings: ListSettings, log: Log, lease?: Lease) {
    this.#settings = settings
    this.#log = log
    this.#list = { settings, log, lease, report: undefined }
  }

  /** How the list is being kept, if this process has it kept. */
  get report(): SyncReport | undefined {
    return this.#list.report
  }

  /** Starts as soon as there is a folder in which a list may be kept. */
  start(): void {
    const again = () => this.#startLater()
    unattended('start of keeping a list', () => this.#start(), again)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#restart)
    readerProcess.remove(this.#list)
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
        const instead = this.#list.lease ? '' : '; recipients are looked up one by one'
        this.#log.error(`no list can be kept in ${file}${instead}: ${problem}`)
      }
      this.#folderProblem = problem
      this.#startLater()
      return
    }
    if (!this.#isClosed) readerProcess.add(this.#list)
  }

  #startLater(): void {
    clearTimeout(this.#restart)
    if (this.#isClosed) return
    const start = () => this.start()
    this.#restart = later(SECOND, 'the next look at the folder', start, start).unref()
  }
}

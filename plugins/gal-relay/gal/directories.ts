// Puts the lists of all directories behind one look-up: each recipient is looked up in the
// directories of its domain. Every directory has its own connections, cache and list, so a failure
// of one does not affect the recipients of another.

import { unattended } from '../guard'
import type { Log } from '../log'
import type { Recipient } from '../routing/recipient'
import {
  DEFAULT,
  type Directories,
  type DirectorySettings,
  directoriesFor,
  isAskedWhere,
} from '../settings/directories'
import { atOnce, type Steps } from '../settings/steps'
import { statsOf } from '../trusted-file'
import type { AddressList, GalAnswer } from './address-list'
import { createAddressList, type GlobalAddressList, type ListReport } from './global-address-list'
import { type Asked, jointAnswer, lookupInAll } from './joint-answer'

export {
  countPasswordRefusal,
  type PasswordRefusal,
  sharePasswordRefusals,
} from '../ldap/credentials'

/** The state of one directory's list, for the log, metrics and the status page. */
export interface DirectoryReport extends ListReport {
  /** The directory's name. */
  readonly directory: string
}

/** What is known about a recipient, and which directory says so. */
export interface DirectoryAnswer {
  readonly directory: string
  readonly answer: GalAnswer
}

interface AskedDirectory extends Asked {
  readonly directory: string
}

interface Opened {
  /** Identifies the settings and key files; the list is kept while this stays the same. */
  readonly state: string
  readonly list: GlobalAddressList
}

/** Lists that have been opened but do not answer look-ups yet. */
export interface OpenedLists {
  readonly directories: Directories
  readonly opened: ReadonlyMap<string, Opened>
}

export class DirectoryLists implements AddressList {
  #directories: Directories
  #opened: ReadonlyMap<string, Opened> = new Map()
  /** The lists for each array that {@link directoriesFor} returns. */
  #asked = new Map<readonly DirectorySettings[], readonly AskedDirectory[]>()
  #hasStarted = false
  /** New lists that have not been started; they answer look-ups all the same. */
  readonly #unstarted = new Set<GlobalAddressList>()
  readonly #logFor: (directory: string) => Log
  readonly #create: typeof createAddressList

  /**
   * @param logFor the log for a directory; with several, each line names its directory
   * @param create makes the list of one directory
   */
  constructor(
    directories: Directories,
    logFor: (directory: string) => Log,
    create = createAddressList,
  ) {
    this.#directories = directories
    this.#logFor = logFor
    this.#create = create
    this.#opened = atOnce(this.#open(directories))
  }

  start(): void {
    this.#hasStarted = true
    for (const { list } of this.#opened.values()) list.start()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const asked = this.#askedFor(recipient.domain)
    const [only] = asked
    if (!only) return NO_DIRECTORY
    return asked.length === 1 ? only.list.lookup(recipient) : lookupInAll(asked, recipient)
  }

  /**
   * Like {@link lookup}, but also names the directory that has the recipient, or all directories
   * asked if none has it.
   */
  async lookupIn(recipient: Recipient): Promise<DirectoryAnswer> {
    const asked = this.#askedFor(recipient.domain)
    const all = asked.map(({ directory }) => directory).join(', ')
    const answers = await Promise.all(asked.map(({ list }) => list.lookup(recipient)))
    const answer = asked.length > 0 ? jointAnswer(asked, answers, true) : undefined
    const having = asked.find((_, i) => answers[i]?.state === 'found')
    return { directory: having?.directory ?? all, answer: answer ?? NO_DIRECTORY }
  }

  /**
   * Removes the recipient from the caches of its directories, so that the directories themselves
   * answer the next look-up.
   *
   * @returns the names of the directories whose cache held something
   */
  forget(recipient: Recipient): readonly string[] {
    const asked = directoriesFor(this.#directories, recipient.domain).map(({ name }) => name)
    return asked.filter((name) => this.#opened.get(name)?.list.forget(recipient))
  }

  report(): readonly DirectoryReport[] {
    return Array.from(this.#opened, ([directory, { list }]) => ({ directory, ...list.report() }))
  }

  /** Whether no directory is away, that is, each has a server that is not known to be down. */
  canBeAsked(): boolean {
    for (const { list } of this.#opened.values()) if (list.isAway()) return false
    return true
  }

  /**
   * Opens the lists for new settings, one directory in each step, for {@link replace}. Directories
   * that have not changed keep their lists, with their connections and answers.
   */
  *opening(directories: Directories): Steps<OpenedLists> {
    return { directories, opened: yield* this.#open(directories) }
  }

  /**
   * Switches to these lists and closes those that they replace; {@link starting} starts new ones.
   * @returns the reports of the lists that were given up
   */
  replace({ directories, opened }: OpenedLists): readonly DirectoryReport[] {
    const before = this.#opened
    this.#directories = directories
    this.#opened = opened
    this.#asked.clear()
    const retired: DirectoryReport[] = []
    for (const [directory, { list }] of before) {
      if (opened.get(directory)?.list === list) continue
      retired.push({ directory, ...list.report() })
      this.#unstarted.delete(list)
      endOf(list)
    }
    if (!this.#hasStarted) return retired
    for (const [name, { list }] of opened) {
      if (before.get(name)?.list !== list) this.#unstarted.add(list)
    }
    return retired
  }

  /** Starts new lists, one in each step. */
  *starting(): Steps<void> {
    for (const list of this.#unstarted) {
      yield
      // The list may have been given up meanwhile.
      if (this.#unstarted.delete(list)) list.start()
    }
  }

  async close(): Promise<void> {
    this.#unstarted.clear()
    await Promise.all(Array.from(this.#opened.values(), ({ list }) => list.close()))
  }

  *#open({ all }: Directories): Steps<ReadonlyMap<string, Opened>> {
    const opened = new Map<string, Opened>()
    const added: GlobalAddressList[] = []
    let isDone = false
    try {
      for (const settings of all) {
        yield
        const { name } = settings
        const known = this.#opened.get(name)
        const state = stateOf(settings)
        const goesOn = known?.state === state
        const list = goesOn ? known.list : this.#newList(settings)
        if (!goesOn) added.push(list)
        opened.set(name, { state, list })
      }
      isDone = true
      return opened
    } finally {
      if (!isDone) for (const list of added) endOf(list)
    }
  }

  /** Only the default directory connects at once: others, perhaps many, may never have any mail. */
  #newList(settings: DirectorySettings): GlobalAddressList {
    const isOnDemand = settings.name !== DEFAULT
    return this.#create(settings, this.#logFor(settings.name), { isOnDemand })
  }

  #askedFor(domain: string): readonly AskedDirectory[] {
    const directories = directoriesFor(this.#directories, domain)
    const known = this.#asked.get(directories)
    if (known) return known
    const asked = directories.flatMap((settings) => {
      const { name: directory } = settings
      const list = this.#opened.get(directory)?.list
      return list ? [{ directory, list, saysWhere: isAskedWhere(settings) }] : []
    })
    this.#asked.set(directories, asked)
    return asked
  }
}

function endOf(list: GlobalAddressList): void {
  unattended('end of a former address list', () => list.close())
}

const NO_DIRECTORY: GalAnswer = {
  state: 'unavailable',
  reason: 'no directory is named for the domain',
}

/** Includes the files, because certificates and passwords are read only when a list is opened. */
function stateOf(settings: DirectorySettings): string {
  const { tls_ca, tls_cert, tls_key, bind_password_file } = settings.ldap
  const files = [tls_ca, tls_cert, tls_key, bind_password_file].filter(Boolean).map(changedAt)
  return JSON.stringify([settings, files])
}

/** 0 if that cannot be determined: the code that reads the file reports why. */
const changedAt = (file: string): number => statsOf(file)?.mtimeMs ?? 0

// The lists of all directories behind one question: each recipient is asked of those that its domain is
// looked up in. What befalls one directory changes nothing for the recipients of another: connections,
// caches and lists are each one's own.

import { unattended } from '../guard'
import type { Log } from '../log'
import type { Recipient } from '../routing/recipient'
import {
  DEFAULT,
  type Directories,
  type DirectorySettings,
  directoriesFor,
} from '../settings/directories'
import { atOnce, type Steps } from '../settings/steps'
import { statsOf } from '../trusted-file'
import { ABSENT, type AddressList, type GalAnswer, stateOfAll } from './address-list'
import { createAddressList, type GlobalAddressList, type ListReport } from './global-address-list'

export { countRefusal, type Refusal, shareRefusals } from '../ldap/credentials'

/** How the list of one directory is, for the log, metrics and the status page. */
export interface DirectoryReport extends ListReport {
  /** The directory's name. */
  readonly directory: string
}

/** What is known of a recipient, and by which directory. */
export interface DirectoryAnswer {
  readonly directory: string
  readonly answer: GalAnswer
}

interface Opened {
  /** Of settings and key files: as long as it is the same, the list goes on as it is. */
  readonly state: string
  readonly list: GlobalAddressList
}

/** Lists that are open, and answer nobody yet. */
export interface OpenedLists {
  readonly directories: Directories
  readonly opened: ReadonlyMap<string, Opened>
}

export class DirectoryLists implements AddressList {
  #directories: Directories
  #opened: ReadonlyMap<string, Opened> = new Map()
  /** By what {@link directoriesFor} returns. */
  #asked = new Map<readonly DirectorySettings[], readonly GlobalAddressList[]>()
  #hasStarted = false
  /** They answer when they are asked. */
  readonly #unstarted = new Set<GlobalAddressList>()
  readonly #logFor: (directory: string) => Log
  readonly #create: typeof createAddressList

  /**
   * @param logFor what is said of a directory, whose name is in each line where there are several
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
    const lists = this.#listsFor(recipient.domain)
    const [only] = lists
    if (!only) return NO_DIRECTORY
    return lists.length === 1 ? only.lookup(recipient) : lookupInAll(lists, recipient)
  }

  /** The same, with the name of the directory that has it; of several that do not, all their names. */
  async lookupIn(recipient: Recipient): Promise<DirectoryAnswer> {
    const asked = directoriesFor(this.#directories, recipient.domain)
    const answers = await Promise.all(
      asked.map(async ({ name }): Promise<DirectoryAnswer> => {
        const answer = (await this.#opened.get(name)?.list.lookup(recipient)) ?? NO_DIRECTORY
        return { directory: name, answer }
      }),
    )
    const state = stateOfAll(answers.map(({ answer }) => answer.state))
    const first = answers.find(({ answer }) => answer.state === state)
    if (first && state === 'found') return first
    const all = asked.map(({ name }) => name).join(', ')
    return { directory: all, answer: first?.answer ?? NO_DIRECTORY }
  }

  /**
   * Drops what the caches of its directories have of the recipient: the next one who asks is answered by
   * them.
   *
   * @returns the names of the directories whose cache had something
   */
  forget(recipient: Recipient): readonly string[] {
    const asked = directoriesFor(this.#directories, recipient.domain).map(({ name }) => name)
    return asked.filter((name) => this.#opened.get(name)?.list.forget(recipient))
  }

  report(): readonly DirectoryReport[] {
    return Array.from(this.#opened, ([directory, { list }]) => ({ directory, ...list.report() }))
  }

  /** No directory is away: each has a server that is not known to be down. */
  canBeAsked(): boolean {
    for (const { list } of this.#opened.values()) if (list.isAway()) return false
    return true
  }

  /**
   * Opens the lists of other settings, a directory in each step, for {@link replace}. Those of
   * directories that are as they were go on, with their connections and answers.
   */
  *opening(directories: Directories): Steps<OpenedLists> {
    return { directories, opened: yield* this.#open(directories) }
  }

  /**
   * Goes on with these lists, and closes those whose place they take. New ones are to be started.
   * @returns what was counted by the lists that are given up
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
      // It may have been given up meanwhile.
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

  /** One of many must not hold connections for mail that may never come. */
  #newList(settings: DirectorySettings): GlobalAddressList {
    const isOnDemand = settings.name !== DEFAULT
    return this.#create(settings, this.#logFor(settings.name), { isOnDemand })
  }

  #listsFor(domain: string): readonly GlobalAddressList[] {
    const directories = directoriesFor(this.#directories, domain)
    const known = this.#asked.get(directories)
    if (known) return known
    const lists = directories.flatMap(({ name }) => this.#opened.get(name)?.list ?? [])
    this.#asked.set(directories, lists)
    return lists
  }
}

function endOf(list: GlobalAddressList): void {
  unattended('end of a former address list', () => list.close())
}

const NO_DIRECTORY: GalAnswer = {
  state: 'unavailable',
  reason: 'no directory is named for the domain',
}

const FAILED: GalAnswer = { state: 'unavailable', reason: 'a failure of the plugin itself' }

/**
 * Found where any directory has it, absent where all say so. Whoever has it need not wait for the
 * others, one of which may be slow or down.
 */
function lookupInAll(
  lists: readonly AddressList[],
  recipient: Recipient,
): GalAnswer | Promise<GalAnswer> {
  const answers = lists.map((list) => list.lookup(recipient))
  const found = answers.find((one) => !(one instanceof Promise) && one.state === 'found')
  if (found) return found
  return new Promise((resolve) => {
    let waiting = answers.length
    let unavailable: GalAnswer | undefined
    const settle = (answer: GalAnswer) => {
      waiting--
      if (answer.state === 'unavailable') unavailable ??= answer
      if (answer.state === 'found') resolve(answer)
      else if (waiting === 0) resolve(unavailable ?? ABSENT)
    }
    for (const answer of answers) {
      const answered = async () => settle(await answer)
      unattended('answer of one of several directories', answered, () => settle(FAILED))
    }
  })
}

/** Certificates and passwords are read when a list is opened. */
function stateOf(settings: DirectorySettings): string {
  const { tls_ca, tls_cert, tls_key, bind_password_file } = settings.ldap
  const files = [tls_ca, tls_cert, tls_key, bind_password_file].filter(Boolean).map(changedAt)
  return JSON.stringify([settings, files])
}

/** 0 where that cannot be known: whoever reads it says why. */
const changedAt = (file: string): number => statsOf(file)?.mtimeMs ?? 0

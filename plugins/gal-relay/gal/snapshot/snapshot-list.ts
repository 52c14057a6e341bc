// Answers from the whole list in memory, without asking anybody. Recipients in the list are found
// as long as the list may be used. Others are absent only if the directory has just confirmed the
// list. Otherwise they are looked up live, because an address may have been created since.

import { unattended } from '../../guard'
import type { Log } from '../../log'
import type { Mailbox } from '../../routing/mailbox'
import type { Recipient } from '../../routing/recipient'
import {
  ABSENT,
  type AddressList,
  FOUND,
  FOUND_AUTHENTICATED,
  type GalAnswer,
} from '../address-list'
import type { FeedName } from '../feeds/table'
import { type OtherNames, otherNames } from '../other-names'
import { IN_LIST_AUTHENTICATED_ONLY } from './address-table'
import type { ListSettings } from './list-settings'
import { UNREADABLE } from './listed-mailboxes'
import { Snapshot } from './snapshot'
import type { SyncReport } from './syncer'

/** The state of the list, for the log, metrics and the status page. */
export interface SnapshotReport {
  readonly addresses: number
  /** Whether an address that is not in the list counts as absent. */
  readonly isCurrent: boolean
  /** When the list was last known to be right, milliseconds since 1970; 0: there is no list. */
  readonly asOf: number
  /** The feed by which changes arrive. */
  readonly feed: FeedName
  /** How the list is being kept, if this process has it kept. */
  readonly sync: SyncReport | undefined
  /** The list comes from another server, and there is no directory to ask. */
  readonly isReceived?: boolean
  /** How many recipients were answered from memory, and how many were looked up live. */
  readonly answered: number
  readonly asked: number
}

export class SnapshotList implements AddressList {
  readonly #live: AddressList
  readonly #snapshot: Snapshot
  readonly #others: OtherNames | undefined
  readonly #usableFor: number
  #loading: Promise<void> | undefined
  #isLoaded = false
  #answered = 0
  #asked = 0

  /** @param live answers what the list cannot; it tries other names itself */
  constructor(live: AddressList, settings: ListSettings, log: Log) {
    this.#live = live
    this.#others = otherNames(settings.gal)
    this.#usableFor = settings.snapshot.usable_for
    this.#snapshot = Snapshot.open(settings, log)
  }

  start(): void {
    this.#live.start()
    unattended('loading the list', () => this.#load())
    this.#snapshot.keep()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    if (this.#isLoaded) return this.#answer(recipient)
    return this.#load().then(() => this.#answer(recipient))
  }

  report(): SnapshotReport {
    const { follower, reader } = this.#snapshot
    return {
      addresses: follower.addresses,
      isCurrent: follower.isCurrent,
      asOf: follower.asOf,
      feed: follower.feed,
      sync: reader.report,
      answered: this.#answered,
      asked: this.#asked,
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#snapshot.release(), this.#live.close()])
  }

  #load(): Promise<void> {
    this.#loading ??= this.#snapshot.load().then(
      () => {
        this.#isLoaded = true
      },
      (error: unknown) => {
        // The next look-up tries again.
        this.#loading = undefined
        throw error
      },
    )
    return this.#loading
  }

  #answer(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const { follower } = this.#snapshot
    if (!follower.hasList) return this.#ask(recipient)
    let listed = recipient
    let state = follower.find(recipient)
    for (const other of state < 0 ? (this.#others?.(recipient) ?? []) : []) {
      state = follower.find(other)
      listed = other
      if (state >= 0) break
    }
    if (state < 0) {
      if (!follower.isCurrent) return this.#ask(recipient)
      this.#answered++
      return ABSENT
    }
    const mailbox = follower.mailbox(listed)
    if (mailbox === UNREADABLE || !follower.isUsable(this.#usableFor)) return this.#ask(recipient)
    this.#answered++
    return foundAnswer(state, mailbox)
  }

  #ask(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    this.#asked++
    return this.#live.lookup(recipient)
  }
}

/** @param state IN_LIST or IN_LIST_AUTHENTICATED_ONLY */
export function foundAnswer(state: number, mailbox: Mailbox | undefined): GalAnswer {
  const authenticatedOnly = state === IN_LIST_AUTHENTICATED_ONLY
  if (mailbox) return { state: 'found', authenticatedOnly, mailbox }
  return authenticatedOnly ? FOUND_AUTHENTICATED : FOUND
}

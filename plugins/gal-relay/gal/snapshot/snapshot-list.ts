// The whole list in memory, answering without asking anybody. What it holds is found for as long as the
// list may be used. What it does not hold is absent only while the directory has just confirmed the
// list; else that is asked live: an address may have been made since.

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

/** How the list is, for the log, metrics and the status page. */
export interface SnapshotReport {
  readonly addresses: number
  /** Whether an address that is not in it is taken for absent. */
  readonly isCurrent: boolean
  /** When it was last known to be right, milliseconds since 1970; 0: there is none. */
  readonly asOf: number
  /** The feed by which changes arrive. */
  readonly feed: FeedName
  /** How it is kept, when that is done by this process. */
  readonly sync: SyncReport | undefined
  /** It comes from another server, and there is no directory to ask. */
  readonly isReceived?: boolean
  /** Answers from memory, and those that were asked live. */
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

  /** @param live what is asked instead, other names included */
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
        // The next one who asks tries it again.
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

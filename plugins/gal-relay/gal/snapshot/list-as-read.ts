// Answers from the list in force on the disk, which counts as the truth while a command runs. How a
// day of mail would be answered is a question about one moment, not about whether a list may still
// be relied on. The directory is asked if there is no list, or if a mailbox in it cannot be read.
import type { Log } from '../../log'
import type { Recipient } from '../../routing/recipient'
import { ABSENT, type GalAnswer } from '../address-list'
import { listDefinition } from '../directory/list-definition'
import { createAddressList, type GlobalAddressList, type ListReport } from '../global-address-list'
import { type OtherNames, otherNames } from '../other-names'
import { type ListInForce, listedKey, readListInForce } from './in-force'
import type { ListSettings } from './list-settings'
import { UNREADABLE } from './listed-mailboxes'
import { NO_DIRECTORY, whyUnknown } from './received-list'
import { foundAnswer } from './snapshot-list'

/** @returns the list to answer from; in live mode, the same as in a server */
export function createListAsRead(settings: ListSettings, log: Log): GlobalAddressList {
  if (settings.gal.mode === 'received') return new ListAsRead(NOBODY, settings)
  const live = createAddressList({ ...settings, gal: { ...settings.gal, mode: 'live' } }, log)
  return settings.gal.mode === 'snapshot' ? new ListAsRead(live, settings) : live
}

/** @returns a list that answers as a server would now; one in memory may look recipients up live */
export function createListForNow(settings: ListSettings, log: Log): GlobalAddressList {
  if (settings.gal.mode !== 'received') return createAddressList(settings, log)
  return new ListAsRead(NOBODY, settings, 2 * settings.snapshot.changes_every)
}

/** Takes the place of the directory for a received list. */
const NOBODY: GlobalAddressList = {
  start() {},
  lookup: () => ({ state: 'unavailable', reason: whyUnknown(0) }),
  forget: () => false,
  isAway: () => true,
  report: () => ({ ...NO_DIRECTORY, snapshot: undefined }),
  async close() {},
}

class ListAsRead implements GlobalAddressList {
  readonly #live: GlobalAddressList
  readonly #settings: ListSettings
  readonly #others: OtherNames | undefined
  readonly #currentFor: number
  #reading: Promise<void> | undefined
  #list: ListInForce | undefined
  #isRead = false
  #answered = 0
  #asked = 0

  /** @param currentFor how old the list may be to prove that a recipient is absent, milliseconds */
  constructor(
    live: GlobalAddressList,
    settings: ListSettings,
    currentFor = Number.POSITIVE_INFINITY,
  ) {
    this.#live = live
    this.#settings = settings
    this.#currentFor = currentFor
    this.#others = otherNames(settings.gal)
  }

  start(): void {
    this.#live.start()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    if (this.#isRead) return this.#answer(recipient)
    this.#reading ??= this.#read()
    return this.#reading.then(() => this.#answer(recipient))
  }

  forget(recipient: Recipient): boolean {
    return this.#live.forget(recipient)
  }

  isAway(): boolean {
    return this.#live.isAway()
  }

  report(): ListReport {
    const { count = 0, asOf = 0 } = this.#list ?? {}
    const [answered, asked] = [this.#answered, this.#asked]
    const none = { isCurrent: false, feed: 'none', sync: undefined } as const
    return {
      ...this.#live.report(),
      snapshot: { addresses: count, asOf, answered, asked, ...none },
    }
  }

  async close(): Promise<void> {
    await this.#reading
    await this.#live.close()
  }

  async #read(): Promise<void> {
    const { gal, ldap, snapshot } = this.#settings
    try {
      const list = await readListInForce(listDefinition(gal, ldap), snapshot)
      if (Date.now() - list.asOf <= snapshot.usable_for) this.#list = list
    } catch {
      // There is no usable list; report() says so.
    }
    this.#isRead = true
  }

  #answer(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const list = this.#list
    if (!list) return this.#ask(recipient)
    const key = listedKey(list, recipient, this.#others)
    if (key === undefined && Date.now() - list.asOf > this.#currentFor) {
      return { state: 'unavailable', reason: whyUnknown(list.asOf) }
    }
    const mailbox = key === undefined ? undefined : list.mailbox(key)
    if (mailbox === UNREADABLE) return this.#ask(recipient)
    this.#answered++
    return key === undefined ? ABSENT : foundAnswer(list.find(key), mailbox)
  }

  #ask(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    this.#asked++
    return this.#live.lookup(recipient)
  }
}

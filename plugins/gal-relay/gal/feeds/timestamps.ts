// Looks for changes by the time of each entry's last modification, which any directory records.
// Clocks may be wrong, and times do not show which entries are gone. Only a complete comparison, as
// often as the load allows, confirms the list.

import type { Entry } from '../../ldap/entry'
import { valuesOf } from '../../ldap/root-dse'
import { Bell, type ChangeFeed, type FeedContext, lookAgain } from './change-feed'

export const feed: ChangeFeed = {
  isAnnounced: () => true,
  looksBy: 'time stamps',
  async run(context) {
    const times = new Timestamps(context)
    await times.begin()
    await context.keeper.complete()
    const looker = { look: () => times.look(), compare: () => times.compare() }
    // This bell never rings.
    return await lookAgain(context, looker, new Bell(), false)
  },
}

class Timestamps {
  readonly #context: FeedContext
  /** The latest time in any entry, as the server writes it. */
  #latest = ''

  constructor(context: FeedContext) {
    this.#context = context
  }

  async begin(): Promise<void> {
    await this.#readAll(() => {})
  }

  async look(): Promise<void> {
    if (!this.#latest) return
    const { list } = this.#context
    await list.readChangedSince(MODIFIED, this.#latest, (id, entry) => this.#take(id, entry))
  }

  async compare(): Promise<void> {
    const comparison = this.#context.keeper.compare()
    await this.#readAll((id) => comparison.seen(id))
    await comparison.end()
  }

  async #readAll(seen: (id: Buffer) => void): Promise<void> {
    const take = (id: Buffer, entry: Entry) => {
      seen(id)
      this.#take(id, entry)
    }
    await this.#context.list.readAll(take, [MODIFIED])
  }

  #take(id: Buffer, entry: Entry): void {
    const [modified] = valuesOf(entry, MODIFIED)
    const time = modified?.toString('latin1') ?? ''
    // GeneralizedTime in UTC sorts as text (RFC 4517 §3.3.13).
    if (/^\d{14}(\.\d+)?Z$/.test(time) && time > this.#latest) this.#latest = time
    this.#context.keeper.entry(id, entry)
  }
}

const MODIFIED = 'modifyTimestamp'

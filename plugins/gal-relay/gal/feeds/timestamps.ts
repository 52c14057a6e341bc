// By the time of each entry's last modification, which any directory has. Times do what clocks do, and
// do not show what is gone: only a complete comparison, about as often as is bearable, confirms the
// list.

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
    // Nobody rings.
    return await lookAgain(context, looker, new Bell(), false)
  },
}

class Timestamps {
  readonly #context: FeedContext
  /** The latest that any entry showed, in the server's own notation. */
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
    comparison.end()
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

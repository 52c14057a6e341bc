// One process's share in the snapshot: the list in memory, and its part in keeping that list. All
// address lists of the process that would keep the same list share it. A reload of the settings
// that changes nothing here therefore does not read the directory again.
import type { Log } from '../../log'
import { listDefinition } from '../directory/list-definition'
import { fingerprintOf } from './fingerprint'
import { Follower } from './follower'
import { chooseAmongWorkers } from './keeper-choice'
import { ListReader } from './list-reader'
import type { ListSettings } from './list-settings'

export class Snapshot {
  readonly follower: Follower
  readonly reader: ListReader
  readonly #name: string
  #users = 0
  #isKept = false

  private constructor(name: string, settings: ListSettings, log: Log) {
    const { file, changes_every, trusted, channel } = settings.snapshot
    this.#name = name
    const fingerprint = fingerprintOf(listDefinition(settings.gal, settings.ldap), channel)
    this.follower = new Follower({
      file,
      fingerprint,
      trusted,
      currentFor: 2 * changes_every,
      log,
    })
    this.reader = new ListReader(settings, log)
  }

  /** The caller must release it. */
  static open(settings: ListSettings, log: Log): Snapshot {
    const { gal, ldap, snapshot } = settings
    const parts = [
      ...[gal.attributes, gal.filter, gal.authenticated_only_attribute],
      ...[gal.host_attribute, gal.routing_attribute, ldap, snapshot],
    ]
    const name = JSON.stringify(parts)
    // For the master of a cluster, which answers no mail itself.
    chooseAmongWorkers()
    const one = opened.get(name) ?? new Snapshot(name, settings, log)
    opened.set(name, one)
    one.#users++
    return one
  }

  /** Reads the list from the disk, and follows it. */
  load(): Promise<void> {
    return this.follower.start()
  }

  /** Takes part in keeping the list. */
  keep(): void {
    if (this.#isKept) return
    this.#isKept = true
    this.reader.start()
  }

  async release(): Promise<void> {
    this.#users--
    if (this.#users > 0) return
    opened.delete(this.#name)
    this.reader.close()
    await this.follower.close()
  }
}

const opened = new Map<string, Snapshot>()

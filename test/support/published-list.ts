// A list on the side of the publisher, without a directory: a file like that of a directory's reader, with
// recipients that the test chooses.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { ListSink } from '../../plugins/gal-relay/fleet/carrier'
import { listDefinition } from '../../plugins/gal-relay/gal/directory/list-definition'
import { SnapshotWriter } from '../../plugins/gal-relay/gal/snapshot/file'
import { fingerprintOf } from '../../plugins/gal-relay/gal/snapshot/fingerprint'
import { Follower } from '../../plugins/gal-relay/gal/snapshot/follower'
import { type Membership, MembershipBuilder } from '../../plugins/gal-relay/gal/snapshot/membership'
import { Publisher } from '../../plugins/gal-relay/gal/snapshot/publisher'
import { Receiver } from '../../plugins/gal-relay/gal/snapshot/receiver'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import type { ListCarrier, ListChannel } from '../../plugins/gal-relay/settings/list-channel'
import { GAL, LDAP, type RecordedLog, recordedLog, SNAPSHOT } from '../gal/lists'

const NONE = new Uint32Array(0)
export const CHANGES_EVERY = 60_000

export interface Folder {
  readonly folder: string
  /** @returns the file with a secret */
  key(name?: string): string
  remove(): void
}

export function listFolder(): Folder {
  const folder = mkdtempSync(path.join(tmpdir(), 'published-'))
  return {
    folder,
    key(name = 'a') {
      const file = path.join(folder, `${name}.key`)
      writeFileSync(file, `${name.repeat(40)}\n`, { mode: 0o600 })
      return file
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

export const channelBy = (
  carrier: ListCarrier,
  key_file: string,
  role: ListChannel['role'],
  list = 'default',
): ListChannel => ({ role, list, key_file, carrier })

/** The file that a reader of the directory keeps. */
export class KeptFile {
  readonly file: string
  readonly people = new Set<string>()
  #membership: Membership | undefined
  #writer: SnapshotWriter | undefined

  constructor(file: string) {
    this.file = file
  }

  /** Replaces the whole list. */
  async read(people: Iterable<string>, confirmedAt = Date.now()): Promise<void> {
    this.people.clear()
    const builder = new MembershipBuilder()
    for (const one of people) {
      this.people.add(one)
      builder.add(Buffer.from(one), [one], false)
    }
    const membership = builder.build()
    membership.takeChanges()
    const fingerprint = fingerprintOf(listDefinition(GAL, LDAP))
    const meta = { key: membership.key, fingerprint, takenAt: Date.now() }
    const first = { added: NONE, removed: NONE, confirmedAt, feed: 1 }
    const { table } = membership.content()
    const writer = await SnapshotWriter.create(this.file, meta, table, first)
    await this.#writer?.close()
    this.#writer = writer
    this.#membership = membership
  }

  async change(add: readonly string[], remove: readonly string[] = []): Promise<void> {
    const membership = this.#membership
    if (!membership) throw new Error('nothing has been read')
    for (const one of add) {
      this.people.add(one)
      membership.set(Buffer.from(one), [one], false)
    }
    for (const one of remove) {
      this.people.delete(one)
      membership.set(Buffer.from(one), [], false)
    }
    await this.#writer?.append({ ...membership.takeChanges(), confirmedAt: Date.now(), feed: 1 })
  }

  async close(): Promise<void> {
    await this.#writer?.close()
  }
}

export function publisherOf(
  file: string,
  sink: ListSink,
  key_file: string,
  list = 'default',
): Publisher {
  return new Publisher({
    snapshot: { ...SNAPSHOT, file, changes_every: CHANGES_EVERY },
    channel: channelBy({ file: '' }, key_file, 'publish', list),
    sink,
    readSince: 0,
    log: recordedLog(),
  })
}

export interface Gateway {
  readonly log: RecordedLog
  readonly file: string
  has(address: string): boolean
  readonly isCurrent: boolean
  readonly count: number
  stop(): Promise<void>
}

/** Starts a receiver of the list and a process that answers from it. */
export async function startGateway(
  file: string,
  channel: ListChannel,
  changes_every = CHANGES_EVERY,
): Promise<Gateway> {
  const log = recordedLog()
  const gal = { ...GAL, mode: 'received' } as const
  const snapshot = { ...SNAPSHOT, file, changes_every, channel }
  const receiver = new Receiver({ gal, ldap: { ...LDAP, base: [] }, snapshot }, channel, log)
  const stop = new AbortController()
  const fingerprint = fingerprintOf(listDefinition(gal, LDAP), channel)
  const options = { file, fingerprint, currentFor: 2 * changes_every, log: recordedLog() }
  const follower = new Follower(options)
  await follower.start()
  const ended = receiver.run(stop.signal)
  return {
    log,
    file,
    has(address) {
      const at = address.lastIndexOf('@')
      return follower.find(recipientOf(address.slice(0, at), address.slice(at + 1))) >= 0
    },
    get isCurrent() {
      return follower.isCurrent
    },
    get count() {
      return follower.addresses
    },
    async stop() {
      stop.abort(new Error('the test is over'))
      await ended
      await follower.close()
    },
  }
}

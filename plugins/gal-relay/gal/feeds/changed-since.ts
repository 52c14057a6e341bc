// Directories that do not tell of changes are asked for them: by the number that Active Directory gives
// each change of an object on a domain controller (uSNChanged), or by the time of each entry's last
// modification. Neither shows every removal, which is found by listing the entries that there are,
// about as often as is bearable.
//
// Change numbers only grow. Times do what clocks do, so that with them only a complete comparison
// confirms the list; with change numbers too where an entry may enter it without a change of its own.
import { IS_DELETED, OBJECT_GUID, SHOW_DELETED } from '../../ldap/active-directory'
import { NOTIFICATION, notifyOfChanges } from '../../ldap/ad-notification'
import { DirectoryError } from '../../ldap/directory-error'
import type { Entry } from '../../ldap/entry'
import { atLeast } from '../../ldap/filter'
import { contextsOf } from '../../ldap/naming-contexts'
import { PAGED_RESULTS, pagedSearch } from '../../ldap/paged-search'
import { readRootDse, valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import { compareIds, mayHaveMovedOthers, readAgain } from '../directory/read-again'
import { PATIENCE } from '../directory/whole-list'
import { Bell, Comparisons, type FeedContext, isToldOfAll } from './change-feed'

export async function changedSince(
  kind: 'usn' | 'timestamps',
  context: FeedContext,
): Promise<never> {
  const looker = kind === 'usn' ? new ChangeNumbers(context) : new Timestamps(context)
  const { keeper, gal, every, signal } = context
  const isEnough = kind === 'usn' && isToldOfAll(gal)
  const comparisons = new Comparisons()
  const bell = new Bell()
  await looker.begin(bell)
  await keeper.complete()
  for (;;) {
    const askedAt = Date.now()
    await looker.look()
    const isCompared = await comparisons.run(() => looker.compare())
    if (isCompared || isEnough) await keeper.confirmed(askedAt)
    await bell.wait(comparisons.wait(every), signal)
  }
}

class ChangeNumbers {
  readonly #context: FeedContext
  /** All changes up to this one have been seen. */
  #seen: bigint

  constructor(context: FeedContext) {
    this.#context = context
    this.#seen = context.rootDse.highestCommittedUsn ?? 0n
  }

  async begin(bell: Bell): Promise<void> {
    const { connection, rootDse, list, keeper } = this.#context
    if (rootDse.controls.has(NOTIFICATION)) {
      for (const name of this.#roots()) {
        notifyOfChanges(
          connection,
          name,
          () => bell.ring(),
          () => this.#context.log.notice(`no change notification for '${name}'`),
        )
      }
    }
    await list.readAll((id, entry) => keeper.entry(id, entry))
  }

  async look(): Promise<void> {
    const { connection, ldap } = this.#context
    const { highestCommittedUsn: now } = await readRootDse(connection, ldap.query_timeout)
    if (now === undefined || now < this.#seen) {
      throw new DirectoryError('unproven', 'the change numbers of the server went back')
    }
    if (now === this.#seen) return
    const changed: Buffer[] = []
    const names: string[] = []
    for (const root of this.#roots()) await this.#find(root, changed, names)
    await readAgain(this.#context, OBJECT_GUID, changed)
    if (await mayHaveMovedOthers(this.#context, names)) await this.compare()
    this.#seen = now
  }

  async compare(): Promise<void> {
    await compareIds(this.#context, OBJECT_GUID)
  }

  /** Objects that left the bases are found as long as they are anywhere in the domain. */
  #roots(): readonly string[] {
    const { list, rootDse } = this.#context
    return contextsOf(list.bases, rootDse.namingContexts) ?? list.bases
  }

  async #find(root: string, changed: Buffer[], names: string[]): Promise<void> {
    const { connection, rootDse } = this.#context
    const search = searchRequest({
      base: root,
      scope: SCOPE.subtree,
      filter: atLeast('uSNChanged', String(this.#seen + 1n)),
      attributes: attributeList([OBJECT_GUID, IS_DELETED]),
    })
    const entry = (one: Entry) => {
      const [id] = valuesOf(one, OBJECT_GUID)
      if (!id) return
      changed.push(Buffer.from(id))
      if (valuesOf(one, IS_DELETED).length === 0) names.push(one.dn)
    }
    await pagedSearch(
      connection,
      search,
      { entry },
      {
        paged: rootDse.controls.has(PAGED_RESULTS),
        controls: [{ oid: SHOW_DELETED }],
        patience: PATIENCE,
      },
    )
  }
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

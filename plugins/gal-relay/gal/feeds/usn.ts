// Follows uSNChanged, the ever-increasing number that an Active Directory domain controller gives
// each change of an object. It does not show all removed objects, nor entries that enter the list
// without being modified: those are found by listing all entries, as often as the load allows.
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
import {
  Bell,
  type ChangeFeed,
  dependsOnEntryAlone,
  type FeedContext,
  lookAgain,
} from './change-feed'

export const feed: ChangeFeed = {
  isAnnounced: ({ highestCommittedUsn }) => highestCommittedUsn !== undefined,
  looksBy: 'change numbers (usn)',
  async run(context) {
    const numbers = new ChangeNumbers(context)
    const bell = new Bell()
    await numbers.begin(bell)
    await context.keeper.complete()
    const looker = { look: () => numbers.look(), compare: () => numbers.compare() }
    return await lookAgain(context, looker, bell, dependsOnEntryAlone(context.list.definition))
  },
}

class ChangeNumbers {
  readonly #context: FeedContext
  /** All changes up to this number have been seen. */
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
    const { connection, list } = this.#context
    const { highestCommittedUsn: now } = await readRootDse(connection, list.timeout)
    if (now === undefined || now < this.#seen) {
      throw new DirectoryError('unproven', 'the change numbers of the server went backwards')
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

  /** Whole domains if possible, to find objects that left the bases but are still in the domain. */
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

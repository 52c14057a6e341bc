// Active Directory's DirSync control (MS-ADTS 3.1.1.3.4.1.3): returns what has changed in a naming
// context since a cookie, including deletions. It needs the right Replicating Directory Changes.
// The changed objects are then read again to find out which of them are in the list.

import { IS_DELETED, OBJECT_GUID } from '../../ldap/active-directory'
import { NOTIFICATION, notifyOfChanges } from '../../ldap/ad-notification'
import { BerReader, integer, octets, TAG, tlv } from '../../ldap/ber'
import type { Connection } from '../../ldap/connection'
import { controlValue } from '../../ldap/controls'
import { DirectoryError, resultError } from '../../ldap/directory-error'
import { and, attributesOfFilter, equals, present } from '../../ldap/filter'
import { bounded } from '../../ldap/limits'
import { contextsOf } from '../../ldap/naming-contexts'
import { isActiveDirectory, type RootDse, valuesOf } from '../../ldap/root-dse'
import { attributeList, SCOPE, searchRequest } from '../../ldap/search-request'
import type { Sink } from '../../ldap/search-result'
import type { ListDefinition } from '../directory/list-definition'
import { compareIds, mayHaveMovedOthers, readAgain } from '../directory/read-again'
import { PATIENCE } from '../directory/whole-list'
import {
  Bell,
  type ChangeFeed,
  Comparisons,
  dependsOnEntryAlone,
  type FeedContext,
  isRefusal,
  NotOffered,
} from './change-feed'

export const DIRSYNC = '1.2.840.113556.1.4.841'
const MAX_BYTES = 1 << 20

/** Returned for an object that is new, renamed or moved. */
const NAME = 'name'
/** Always requested, whatever the settings say, because they reveal moves and deletions. */
const ALWAYS = [NAME, 'parentGUID', IS_DELETED]

export const feed: ChangeFeed = {
  isAnnounced: (rootDse) => isActiveDirectory(rootDse) && rootDse.controls.has(DIRSYNC),
  run,
  async trial({ connection, rootDse, list }) {
    try {
      for (const name of contextsIn(list, rootDse)) {
        await cookieNow({ connection, definition: list }, name)
      }
      return undefined
    } catch (error) {
      if (!(error instanceof NotOffered)) throw error
      return `it does not report changes to us by dirsync: ${error.message}`
    }
  },
}

async function run(context: FeedContext): Promise<never> {
  const { connection, rootDse, list, keeper, every, signal } = context
  const { definition } = list
  const contexts = contextsIn(definition, rootDse)
  const asker = { connection, definition }
  const cookies = new Map<string, Buffer>()
  const bell = new Bell()
  let isToldOfDeletions = true
  for (const name of contexts) {
    const { cookie, showsDeleted } = await cookieNow(asker, name)
    cookies.set(name, cookie)
    isToldOfDeletions &&= showsDeleted
  }
  if (rootDse.controls.has(NOTIFICATION)) {
    for (const name of contexts) {
      notifyOfChanges(
        connection,
        name,
        () => bell.ring(),
        () => context.log.notice(`no change notification for ${name}`),
      )
    }
  }
  await list.readAll((id, entry) => keeper.entry(id, entry))
  await keeper.complete()
  const isEnough = isToldOfDeletions && dependsOnEntryAlone(definition)
  const comparisons = new Comparisons()
  for (;;) {
    const askedAt = Date.now()
    for (const name of contexts) {
      const { cookie, changed, moved } = await changes(asker, name, cookies.get(name))
      await readAgain(context, OBJECT_GUID, changed)
      if (await mayHaveMovedOthers(context, moved)) await compareIds(context, OBJECT_GUID)
      cookies.set(name, cookie)
    }
    const isCompared = !isEnough && (await comparisons.run(() => compareIds(context, OBJECT_GUID)))
    if (isCompared || isEnough) await keeper.confirmed(askedAt)
    await bell.wait(comparisons.wait(every), signal)
  }
}

/** @throws NotOffered if a base lies in none of the naming contexts */
function contextsIn({ bases }: ListDefinition, { namingContexts }: RootDse): readonly string[] {
  const contexts = contextsOf(bases, namingContexts)
  if (!contexts) throw new NotOffered('a base is in none of the naming contexts of this server')
  return contexts
}

/**
 * @returns also whether the account is shown deleted objects; Samba shows them only to those who may read
 *   their container
 * @throws NotOffered if the account may not use DirSync
 */
async function cookieNow(
  context: Asker,
  name: string,
): Promise<{ readonly cookie: Buffer; readonly showsDeleted: boolean }> {
  // The container is marked as deleted itself. No other object is returned until the cookie is current.
  const container = and(equals('cn', 'Deleted Objects'), equals(IS_DELETED, 'TRUE'))
  let showsDeleted = false
  const entry: Sink['entry'] = (one) => {
    showsDeleted ||= valuesOf(one, IS_DELETED).length > 0
  }
  try {
    const cookie = await sync(context, name, container, Buffer.alloc(0), { entry })
    return { cookie, showsDeleted }
  } catch (error) {
    if (error instanceof DirectoryError && error.code !== undefined && isRefusal(error.code)) {
      throw new NotOffered(error.message)
    }
    throw error
  }
}

interface Changes {
  readonly cookie: Buffer
  readonly changed: readonly Buffer[]
  /** DNs of objects that were moved or are new. */
  readonly moved: readonly string[]
}

async function changes(
  context: Asker,
  name: string,
  since = Buffer.alloc(0) as Buffer,
): Promise<Changes> {
  const changed: Buffer[] = []
  const moved: string[] = []
  const entry: Sink['entry'] = (one) => {
    const [id] = valuesOf(one, OBJECT_GUID)
    if (!id) return
    changed.push(Buffer.from(id))
    const isDeleted = valuesOf(one, IS_DELETED).length > 0
    if (!isDeleted && valuesOf(one, NAME).length > 0) moved.push(one.dn)
  }
  const cookie = await sync(context, name, present('objectClass'), since, { entry })
  return { cookie, changed, moved }
}

interface Asker {
  readonly connection: Connection
  readonly definition: ListDefinition
}

/** @returns the cookie for the next call */
async function sync(
  { connection, definition }: Asker,
  name: string,
  filter: Buffer,
  cookie: Buffer,
  sink: Sink,
): Promise<Buffer> {
  const attributes = [
    ...[...definition.wanted, ...attributesOfFilter(definition.filterText)],
    ...ALWAYS,
  ]
  const search = searchRequest({
    base: name,
    scope: SCOPE.subtree,
    filter,
    attributes: attributeList([...new Set(attributes)]),
  })
  const taker = bounded(sink)
  for (let more = true; more; ) {
    const value = tlv(TAG.sequence, integer(0), integer(MAX_BYTES), octets(cookie))
    const controls = [{ oid: DIRSYNC, critical: true, value }]
    const { result } = connection.stream(search, taker, { controls, patience: PATIENCE })
    const { code, diagnostic, controls: returned } = await result
    if (code !== 0) throw resultError(code, diagnostic)
    const answer = controlValue(returned, DIRSYNC)
    if (!answer) throw new DirectoryError('protocol', 'DirSync returned no cookie')
    const parts = new BerReader(answer, 0, answer.length).expect(TAG.sequence).inside()
    more = parts.expect(TAG.integer).number() !== 0
    parts.expect(TAG.integer)
    parts.expect(TAG.octets)
    cookie = Buffer.from(answer.subarray(parts.start, parts.end))
  }
  return cookie
}

// What the list on disk says about an address, for people to read.
import { ABSENT, type GalAnswer } from '../gal/address-list'
import { listDefinition } from '../gal/directory/list-definition'
import { otherNames } from '../gal/other-names'
import { IN_LIST_AUTHENTICATED_ONLY, NOT_IN_LIST } from '../gal/snapshot/address-table'
import { type ListInForce, listedKey, readListInForce } from '../gal/snapshot/in-force'
import { whyUnknown } from '../gal/snapshot/received-list'
import { counted } from '../report/words'
import type { Recipient } from '../routing/recipient'
import type { DirectorySettings } from '../settings/directories'
import { isMissing } from './install'
import { mailboxText, type SaidMailbox, saidMailbox } from './mailbox'
import { colour } from './print'

/** What the snapshot says. */
export interface Listed {
  readonly state: 'found' | 'absent' | 'unavailable'
  readonly reason: string | undefined
  readonly authenticated_only: boolean | undefined
  /** Where the recipient's mail goes, if the directory says so. */
  readonly mailbox: SaidMailbox | undefined
  readonly recipients: number | undefined
  readonly as_of: string | undefined
}

export type ListOnDisk = ListInForce | { readonly reason: string }

export async function listOnDisk({ gal, ldap, snapshot }: DirectorySettings): Promise<ListOnDisk> {
  try {
    return await readListInForce(listDefinition(gal, ldap), snapshot)
  } catch (error) {
    if (isMissing(error)) return { reason: NO_LIST }
    return { reason: error instanceof Error ? error.message : String(error) }
  }
}

export function listed(list: ListOnDisk, { gal }: DirectorySettings, recipient: Recipient): Listed {
  if ('reason' in list) {
    const unknown = { authenticated_only: undefined, mailbox: undefined }
    const never = { recipients: undefined, as_of: undefined }
    return { state: 'unavailable', reason: list.reason, ...unknown, ...never }
  }
  const key = listedKey(list, recipient, otherNames(gal))
  const state = key === undefined ? NOT_IN_LIST : list.find(key)
  return {
    state: state === NOT_IN_LIST ? 'absent' : 'found',
    reason: undefined,
    authenticated_only: state === IN_LIST_AUTHENTICATED_ONLY,
    mailbox: saidMailbox(key === undefined ? undefined : list.mailbox(key)),
    recipients: list.count,
    as_of: new Date(list.asOf).toISOString(),
  }
}

export function listedInWords(listed: Listed, live: GalAnswer): string[] {
  const { state, reason, recipients, as_of, mailbox } = listed
  if (state === 'unavailable') {
    return [
      `  snapshot: ${reason === NO_LIST ? NO_LIST : `${colour.yellow('not usable')}: ${reason}`}`,
    ]
  }
  const where = `in the snapshot of ${counted(recipients ?? 0, 'recipient')}, as of ${as_of}`
  if (state === 'absent') return [`  ${colour.yellow('not')} ${where}`]
  return [
    `  ${{ found: 'also ', absent: 'still ', unavailable: '' }[live.state]}${where}`,
    ...(mailbox ? [`  its mailbox there: ${mailboxText(mailbox)}`] : []),
  ]
}

const NO_LIST = 'there is none yet'

/** What a server that has only the list would answer now. */
export function answerFrom(
  list: ListOnDisk,
  { state, reason, authenticated_only = false }: Listed,
  { snapshot: { changes_every, usable_for } }: DirectorySettings,
): GalAnswer {
  if ('reason' in list) return { state: 'unavailable', reason: reason ?? list.reason }
  const mostAge = state === 'absent' ? 2 * changes_every : usable_for
  if (Date.now() - list.asOf > mostAge) {
    return { state: 'unavailable', reason: whyUnknown(list.asOf) }
  }
  return state === 'absent' ? ABSENT : { state: 'found', authenticatedOnly: authenticated_only }
}

// Active Directory's change notification (MS-ADTS 3.1.1.3.4.1.9): a search that returns each entry
// at the moment it changes. It only triggers a look for changes now instead of later; the look
// finds out what has changed. Not every account is notified of deletions.

import { unattended } from '../guard'
import { SHOW_DELETED } from './active-directory'
import type { Connection } from './connection'
import { present } from './filter'
import { attributeList, SCOPE, searchRequest } from './search-request'

export const NOTIFICATION = '1.2.840.113556.1.4.528'

/**
 * @param context a naming context
 * @param onChange called for each change
 * @param onRefused called if the server refuses the search, or ends it
 */
export function notifyOfChanges(
  connection: Connection,
  context: string,
  onChange: () => void,
  onRefused: () => void,
): void {
  const search = searchRequest({
    base: context,
    scope: SCOPE.subtree,
    filter: present('objectClass'),
    attributes: attributeList(['objectGUID']),
  })
  const controls = [{ oid: NOTIFICATION, critical: true }, { oid: SHOW_DELETED }]
  const options = { controls, patience: 0 }
  const watch = () =>
    connection.stream(search, { entry: onChange }, options).result.then(onRefused, () => {})
  unattended('change notification', watch, onRefused)
}

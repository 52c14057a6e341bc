// Details of a look-up, for people: which entries hold the address, in which attribute, and how
// they are marked.

import { printable } from '../ldap/directory-error'
import type { Entry } from '../ldap/entry'
import { addressKey } from './address-key'
import type { GalAnswer } from './address-list'
import type { AddressSearch } from './directory/address-search'
import { addressIn, baseName, isTrue, LEGACY_DN } from './directory/entry-addresses'
import type { ListTurn } from './directory/server-knowledge'

/** An entry that holds an address. */
export interface Holder {
  readonly dn: string
  /** The attribute that holds the address, as the entry names it; `undefined` if not returned. */
  readonly attribute: string | undefined
  readonly value: string | undefined
  readonly isAuthenticatedOnly: boolean
  /** Hidden from Exchange's address lists. Such entries receive mail. */
  readonly isHidden: boolean
  /** The account is disabled, as that of a shared mailbox is. Such entries receive mail. */
  readonly isDisabled: boolean
}

/** An answer and how it came about. */
export interface Inspection {
  readonly answer: GalAnswer
  /** The server that gave the answer; `undefined` if the answer is that no server can be asked. */
  readonly server: string | undefined
  readonly milliseconds: number | undefined
  readonly holders: readonly Holder[]
}

/** In lower case; the second has the bit 0x2 set for disabled accounts (MS-ADTS §2.2.16). */
const HIDDEN = 'msexchhidefromaddresslists'
const ACCOUNT_CONTROL = 'useraccountcontrol'

/**
 * @param key the address that was looked up, in its normal form
 * @throws DirectoryError
 */
export async function inspectHolder(
  entry: Entry,
  key: string,
  search: AddressSearch,
  turn: Pick<ListTurn, 'search'>,
): Promise<Holder> {
  const { names, flag } = search.list
  const shown = entry.attributes.flatMap(({ type, values }) => {
    const attribute = baseName(type)
    if (!names.has(attribute)) return []
    return values.map((value) => ({ attribute: type, text: value.toString('utf8') }))
  })
  const holding = shown.find(({ attribute, text }) => {
    const address = addressIn(baseName(attribute), text, names.has(LEGACY_DN))
    return address !== undefined && addressKey(address) === key
  })
  const marks = [HIDDEN, ACCOUNT_CONTROL]
  const [result] = await turn.search([search.forValues(entry.dn, ...marks)])
  const more = result?.entries[0]
  const control = more?.attributes.find(({ type }) => baseName(type) === ACCOUNT_CONTROL)
  return {
    dn: printable(entry.dn),
    attribute: holding?.attribute,
    value: holding && printable(holding.text),
    isAuthenticatedOnly: flag !== '' && isTrue(entry, flag),
    isHidden: more !== undefined && isTrue(more, HIDDEN),
    isDisabled: (Number(control?.values[0]?.toString('latin1') ?? 0) & 2) !== 0,
  }
}

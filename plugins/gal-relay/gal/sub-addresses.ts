// Sub-addresses (RFC 5233): `user+tag@` is looked up as it stands, and when it is not in the list, as
// `user@`. Never so when the local part asks some later system to send the mail onward, or is quoted:
// taking anything off those would accept what the list does not hold.
import type { Recipient } from '../routing/recipient'
import type { AddressList, GalAnswer } from './address-list'

export class SubAddressedList implements AddressList {
  readonly #list: AddressList
  readonly #delimiter: string

  /** @param delimiter one character */
  constructor(list: AddressList, delimiter: string) {
    this.#list = list
    this.#delimiter = delimiter
  }

  start(): void {
    this.#list.start()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const answer = this.#list.lookup(recipient)
    const user = withoutTag(recipient, this.#delimiter)
    if (!user) return answer
    if (!(answer instanceof Promise)) {
      return answer.state === 'absent' ? this.#list.lookup(user) : answer
    }
    // At the same time, so that both together take no longer than one may.
    const ofUser = this.#list.lookup(user)
    return answer.then((given) => (given.state === 'absent' ? ofUser : given))
  }

  close(): Promise<void> {
    return this.#list.close()
  }
}

/**
 * @param delimiter one character; '' takes nothing apart
 * @returns the recipient without its tag, if it has one
 */
export function withoutTag(recipient: Recipient, delimiter: string): Recipient | undefined {
  const { local, routesOnward } = recipient
  const end = delimiter === '' ? -1 : local.indexOf(delimiter)
  if (end < 1 || routesOnward || local.startsWith('"')) return undefined
  return { ...recipient, local: local.slice(0, end) }
}

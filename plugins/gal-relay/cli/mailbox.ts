// Where the directory says that a recipient's mail goes, for people and programs.
import { UNREADABLE } from '../gal/snapshot/listed-mailboxes'
import type { Mailbox } from '../routing/mailbox'
import { visible } from '../visible'

/** What a look-up or the list says: a host, an address or both; or why neither can be known. */
export interface SaidMailbox {
  readonly host?: string
  readonly routing_address?: string
  readonly problem?: string
}

/** @returns `undefined` if nothing is said */
export function saidMailbox(
  mailbox: Mailbox | undefined | typeof UNREADABLE,
): SaidMailbox | undefined {
  if (!mailbox) return undefined
  if (mailbox === UNREADABLE)
    return { problem: 'the list does not show it: the directory is asked' }
  if (mailbox.isAmbiguous) return { problem: 'its entries contradict each other' }
  return { host: mailbox.host, routing_address: mailbox.address }
}

export function mailboxText({ host, routing_address, problem }: SaidMailbox): string {
  return [
    ...(host === undefined ? [] : [`host ${visible(host)}`]),
    ...(routing_address === undefined ? [] : [`routing address ${visible(routing_address)}`]),
    ...(problem === undefined ? [] : [problem]),
  ].join(', ')
}

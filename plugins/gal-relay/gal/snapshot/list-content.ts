// What goes into a file from the list that the process which reads the directory keeps: of the whole list,
// and of what has changed.
import { AUTHENTICATED_ONLY } from './address-hash'
import { AddressTable } from './address-table'
import { INDEX_WORDS, type MailboxData } from './listed-mailboxes'
import { type MailboxNumbers, SEALED } from './mailbox-numbers'

/** A list as it is at one moment. */
export interface ListContent {
  readonly table: AddressTable
  /** Where the directory is asked where mail goes. */
  readonly mailboxes?: MailboxData
}

/** What is to be known of the mailboxes of added addresses. */
export interface MailboxChanges {
  /** Hosts that are new, in the order of their numbers. */
  readonly hosts: readonly string[]
  /** For each added address. */
  readonly numbers: Uint16Array
  /** For each of them that is SEALED: its length in two bytes, and what is sealed. */
  readonly sealed: Buffer
}

/** @returns a copy, since the table goes on changing */
export function contentOf(table: AddressTable, numbers: MailboxNumbers | undefined): ListContent {
  const { slots, capacity, count, mailboxes } = table
  if (!numbers || !mailboxes) return { table: new AddressTable(slots.slice(), capacity, count) }
  const inFile = Uint16Array.from(mailboxes, (number) => numbers.inFile(number))
  return {
    table: new AddressTable(slots.slice(), capacity, count, inFile),
    mailboxes: { hosts: numbers.hosts.slice(), ...sealedOf(table, numbers) },
  }
}

function sealedOf(
  table: AddressTable,
  numbers: MailboxNumbers,
): Pick<MailboxData, 'index' | 'sealed'> {
  let count = 0
  let bytes = 0
  table.forEach((_hi, _lo, number) => {
    if (numbers.inFile(number) !== SEALED) return
    count++
    bytes += numbers.sealedLength(number)
  })
  const index = new Uint32Array(count * INDEX_WORDS)
  const sealed = Buffer.alloc(bytes)
  let at = 0
  let end = 0
  table.forEach((hi, lo, number) => {
    if (numbers.inFile(number) !== SEALED) return
    end = numbers.writeSealed(number, sealed, end)
    index.set([hi, lo & ~AUTHENTICATED_ONLY, end], at)
    at += INDEX_WORDS
  })
  return { index, sealed }
}

/**
 * @param from how many hosts are known already
 * @param added hashes of what is in the table, as pairs of words
 */
export function mailboxChanges(
  table: AddressTable,
  numbers: MailboxNumbers,
  from: number,
  added: readonly number[],
): MailboxChanges {
  const inFile = new Uint16Array(added.length / 2)
  const sealed: Buffer[] = []
  for (let place = 0; place < inFile.length; place++) {
    const number = table.mailbox(added[place * 2] as number, added[place * 2 + 1] as number)
    inFile[place] = numbers.inFile(number)
    if (inFile[place] !== SEALED) continue
    const length = numbers.sealedLength(number)
    const text = Buffer.alloc(2 + length)
    text.writeUInt16LE(length)
    numbers.writeSealed(number, text, 2)
    sealed.push(text)
  }
  return { hosts: numbers.hosts.slice(from), numbers: inFile, sealed: Buffer.concat(sealed) }
}

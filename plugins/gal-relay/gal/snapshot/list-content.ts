// Turns the list that the reading process keeps into what goes into a file: the whole list, or what
// has changed.
import { AUTHENTICATED_ONLY } from './address-hash'
import { AddressTable } from './address-table'
import { INDEX_WORDS, type MailboxData } from './listed-mailboxes'
import { type MailboxNumbers, SEALED } from './mailbox-numbers'

/** A list as it is at one moment. */
export interface ListContent {
  readonly table: AddressTable
  /** Set if the directory is asked where mail goes. */
  readonly mailboxes?: MailboxData
}

/** The mailboxes of added addresses. */
export interface MailboxChanges {
  /** New hosts, in the order of their numbers. */
  readonly hosts: readonly string[]
  /** One for each added address. */
  readonly numbers: Uint16Array
  /** For each number that is SEALED: the length of the sealed text in two bytes, and the text. */
  readonly sealed: Buffer
}

/** @returns a copy, because the table keeps changing */
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
 * @param added hashes of the added addresses, as pairs of words
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

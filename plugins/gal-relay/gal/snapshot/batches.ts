// Splits the changes of a list into pieces that each fit in one batch.
import type { Batch } from './file-format'
import { BATCH_HOSTS_MOST, BATCH_MOST, BATCH_SEALED_MOST } from './file-format'
import type { MailboxChanges } from './list-content'
import { SEALED } from './mailbox-numbers'
import type { Changes } from './membership'

export type Piece = Pick<Batch, 'added' | 'removed' | 'mailboxes'>

const NONE = new Uint32Array(0)
const NO_NUMBERS = new Uint16Array(0)
const NOTHING = Buffer.alloc(0)

export function hasChanges({ added, removed, mailboxes }: Changes): boolean {
  return added.length + removed.length + (mailboxes?.hosts.length ?? 0) > 0
}

/**
 * Additions come first, so an address that moves from one entry to another is never missing. Hosts
 * come before everything that uses their numbers.
 */
export function piecesOf(changes: Changes): Piece[] {
  const { added, removed, mailboxes } = changes
  const isOne =
    added.length + removed.length <= 2 * BATCH_MOST &&
    (mailboxes?.hosts.length ?? 0) <= BATCH_HOSTS_MOST &&
    (mailboxes?.sealed.length ?? 0) <= BATCH_SEALED_MOST
  if (isOne) return [changes]
  return [
    ...(mailboxes ? hostPieces(mailboxes) : []),
    ...(mailboxes ? addedPieces(added, mailboxes) : plainPieces(added, 'added')),
    ...plainPieces(removed, 'removed'),
  ]
}

function* plainPieces(hashes: Uint32Array, what: 'added' | 'removed'): Generator<Piece> {
  for (let at = 0; at < hashes.length; at += BATCH_MOST * 2) {
    yield { added: NONE, removed: NONE, [what]: hashes.subarray(at, at + BATCH_MOST * 2) }
  }
}

function* hostPieces({ hosts }: MailboxChanges): Generator<Piece> {
  for (let at = 0; at < hosts.length; at += BATCH_HOSTS_MOST) {
    const some = hosts.slice(at, at + BATCH_HOSTS_MOST)
    const mailboxes = { hosts: some, numbers: NO_NUMBERS, sealed: NOTHING }
    yield { added: NONE, removed: NONE, mailboxes }
  }
}

function* addedPieces(added: Uint32Array, { numbers, sealed }: MailboxChanges): Generator<Piece> {
  let from = 0
  let sealedFrom = 0
  let sealedTo = 0
  const piece = (to: number): Piece => ({
    added: added.subarray(from * 2, to * 2),
    removed: NONE,
    mailboxes: {
      hosts: [],
      numbers: numbers.subarray(from, to),
      sealed: sealed.subarray(sealedFrom, sealedTo),
    },
  })
  for (const [place, number] of numbers.entries()) {
    const bytes = number === SEALED ? 2 + sealed.readUInt16LE(sealedTo) : 0
    if (place - from === BATCH_MOST || sealedTo + bytes - sealedFrom > BATCH_SEALED_MOST) {
      yield piece(place)
      from = place
      sealedFrom = sealedTo
    }
    sealedTo += bytes
  }
  yield piece(numbers.length)
}

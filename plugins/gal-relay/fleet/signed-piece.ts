// A list on its way between servers. It is split into pieces, each encrypted and then signed
// (HMAC-SHA-256) with its name: which list it belongs to, that list's number, and its place. A
// piece that is changed, left out, moved or taken from another list is noticed. Eavesdroppers learn
// only names and sizes.
//
//   32 bytes of signature, 16 of nonce, 2 with the name's length, name as JSON, encrypted content
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import type { ListKey, ListKeys } from './list-keys'

export interface PieceName {
  /** `head` describes the list, `part` is a part of it, `change` is a change since then. */
  readonly kind: 'head' | 'part' | 'change'
  readonly list: string
  /** Of two lists with the same name, the newer has the larger number. */
  readonly number: number
  /** Its place among the parts, from 0 on, or the changes, from 1 on. */
  readonly at: number
}

/** Something is not accepted as a piece of the list; the message says why. */
export class RefusedPiece extends Error {
  override readonly name = 'RefusedPiece'
}

const CIPHER = 'aes-256-ctr'
const MAC_BYTES = 32
const NONCE_BYTES = 16
const NAME_AT = MAC_BYTES + NONCE_BYTES + 2

export function sealPiece(
  { mac, cipher: key }: ListKey,
  { kind, list, number, at }: PieceName,
  content: Uint8Array,
): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const name = Buffer.from(JSON.stringify([kind, list, number, at]))
  const length = Buffer.alloc(2)
  length.writeUInt16LE(name.length)
  const cipher = createCipheriv(CIPHER, key, nonce)
  const signed = [nonce, length, name, cipher.update(content), cipher.final()]
  return Buffer.concat([signatureOf(mac, signed), ...signed])
}

/** @returns the number in the name of a piece that may be forged; 0 if it has none */
export function numberOf(piece: Buffer): number {
  try {
    const name: unknown = JSON.parse(nameIn(piece))
    const number = Array.isArray(name) ? Number(name[2]) : 0
    return Number.isSafeInteger(number) ? number : 0
  } catch {
    return 0
  }
}

const nameIn = (piece: Buffer) =>
  piece.toString('utf8', NAME_AT, NAME_AT + piece.readUInt16LE(NAME_AT - 2))

/** Without a number, any number is accepted. */
export type ExpectedName = Omit<PieceName, 'number'> & { readonly number?: number }

/** @throws RefusedPiece */
export function openPiece(
  keys: ListKeys,
  expected: ExpectedName,
  piece: Buffer,
): { readonly number: number; readonly content: Buffer } {
  if (piece.length < NAME_AT) throw new RefusedPiece('a piece is cut off')
  const signed = piece.subarray(MAC_BYTES)
  const key = keys.find(({ mac }) =>
    timingSafeEqual(signatureOf(mac, [signed]), piece.subarray(0, MAC_BYTES)),
  )
  if (!key) {
    throw new RefusedPiece(
      'a signature is wrong: the piece was forged, changed or cut on the way, or the other side has ' +
        'another key_file',
    )
  }
  // The signer has the secret, so the name is valid JSON.
  const content = NAME_AT + piece.readUInt16LE(NAME_AT - 2)
  const name: unknown = JSON.parse(nameIn(piece))
  const [kind, list, number, at] = name as [PieceName['kind'], string, number, number]
  if (list !== expected.list) {
    throw new RefusedPiece(`a piece is of the list ${list}, not of ${expected.list}`)
  }
  if (number !== (expected.number ?? number)) {
    throw new RefusedPiece(
      `pieces of two lists are mixed up: one of number ${number} is among those of ${expected.number}`,
    )
  }
  if (kind !== expected.kind || at !== expected.at) {
    throw new RefusedPiece(
      `pieces are replayed, left out or in another order: ${kind} ${at} is where ${expected.kind} ` +
        `${expected.at} belongs`,
    )
  }
  const nonce = piece.subarray(MAC_BYTES, MAC_BYTES + NONCE_BYTES)
  const decipher = createDecipheriv(CIPHER, key.cipher, nonce)
  return {
    number,
    content: Buffer.concat([decipher.update(piece.subarray(content)), decipher.final()]),
  }
}

function signatureOf(mac: Buffer, parts: readonly Uint8Array[]): Buffer {
  const hmac = createHmac('sha256', mac)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

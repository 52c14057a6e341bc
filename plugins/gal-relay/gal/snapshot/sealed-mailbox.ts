// A routing address in the list, sealed so that only who knows the recipient's address can open it. The
// key is made from that address: whoever has the file and not the address learns nothing.
//
//   12 bytes of nonce, 16 of tag, and a JSON array of host and routing address, padded
//
// The nonce is made from what is sealed (as in RFC 5297), so that no nonce serves two texts under one
// key, and the same text for the same recipient is sealed into the same bytes.
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'

/** What is sealed: a host as its number in the list, or as it is; null where none is named. */
export type SealedText = readonly [host: number | string | null, address: string | null]

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Lengths are multiples of it, and say little. */
const PADDING = 32

/** Half for the cipher, half for nonces. */
function keysFor(listKey: Buffer, address: string): readonly [Buffer, Buffer] {
  const keys = createHmac('sha512', listKey).update(`mailbox of ${address}`).digest()
  return [keys.subarray(0, KEY_BYTES), keys.subarray(KEY_BYTES)]
}

/** @param address of the recipient, in its normal form */
export function seal(listKey: Buffer, address: string, text: SealedText): Buffer {
  const [key, nonceKey] = keysFor(listKey, address)
  const json = Buffer.from(JSON.stringify(text))
  const padded = Buffer.alloc(Math.ceil(json.length / PADDING) * PADDING, ' ')
  json.copy(padded)
  const nonce = createHmac('sha256', nonceKey).update(padded).digest().subarray(0, NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  const sealed = Buffer.concat([cipher.update(padded), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
}

/**
 * @param address of the recipient, in its normal form
 * @returns undefined when it was not sealed for this one, or is damaged
 */
export function unseal(
  listKey: Buffer,
  address: string,
  sealed: Uint8Array,
): SealedText | undefined {
  const [key] = keysFor(listKey, address)
  const nonce = sealed.subarray(0, NONCE_BYTES)
  try {
    const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
    const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES))
    return JSON.parse(Buffer.concat([text, decipher.final()]).toString('utf8'))
  } catch {
    return undefined
  }
}

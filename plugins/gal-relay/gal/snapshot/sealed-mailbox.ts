// Seals a routing address in the list. The key is derived from the recipient's address, so only
// those who know that address can open it. The file alone reveals nothing.
//
//   12 bytes of nonce, 16 of tag, and a JSON array of host and routing address, padded
//
// The nonce is derived from the sealed text (as in RFC 5297). No nonce is used for two texts under
// one key, and the same text for the same recipient always gives the same bytes.
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'

/** What is sealed. The host is its number in the list, or its name; `null` if there is none. */
export type SealedText = readonly [host: number | string | null, address: string | null]

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Lengths are rounded up to multiples of this, so they reveal little. */
const PADDING = 32

/** @returns a key for the cipher, and one for nonces */
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
 * @returns `undefined` if the text was sealed for another recipient, or is damaged
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

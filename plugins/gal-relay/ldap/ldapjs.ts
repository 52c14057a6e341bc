// DNs and names of result codes, from ldapjs' packages, and the requests that open and close a connection.
// ldapjs itself is not loaded: that would take longer than loading all our code. Its Client waits for ever
// on a dead connection (issue 463), hides connection errors (403), forgets the bind on reconnecting (392),
// omits callbacks, ends a search at the first intermediate response, and describes messages for unread logs.
import { DN } from '@ldapjs/dn'
import { resultCodeToName } from '@ldapjs/protocol'
import { integer, octets, TAG, tlv } from './ber'

/** @throws Error for text that is not a DN (RFC 4514) */
export function parseDN(text: string): unknown {
  return DN.fromString(text)
}

/** A result code for people: `no such object (32)`. */
export function resultName(code: number): string {
  const name = resultCodeToName(code)
  return name ? `${name.toLowerCase().replaceAll('_', ' ')} (${code})` : `result code ${code}`
}

const START_TLS = '1.3.6.1.4.1.1466.20037'

/** A simple bind (RFC 4511 §4.2); the name is of whatever kind the server uses for accounts. */
export function bindRequest(messageId: number, name: string, credentials: string): Buffer {
  return bind(messageId, name, octets(credentials, 0x80))
}

/**
 * A bind with SASL EXTERNAL (RFC 4513 §5.2.3): the server knows who we are from our certificate or,
 * on a Unix-domain socket, from the operating system.
 */
export function externalBindRequest(messageId: number): Buffer {
  // If the credentials are omitted, the server asks for them; empty ones name no other identity.
  return bind(messageId, '', tlv(0xa3, octets('EXTERNAL'), octets('')))
}

const LDAP_VERSION = 3

const bind = (messageId: number, name: string, authentication: Buffer) =>
  message(messageId, tlv(0x60, integer(LDAP_VERSION), octets(name), authentication))

/** RFC 4511 §4.14 */
export function startTlsRequest(messageId: number): Buffer {
  return message(messageId, tlv(0x77, octets(START_TLS, 0x80)))
}

/** RFC 4511 §4.3 */
export function unbindRequest(messageId: number): Buffer {
  return message(messageId, tlv(0x42))
}

/** RFC 4511 §4.11; it has no response. */
export function abandonRequest(messageId: number, abandonId: number): Buffer {
  return message(messageId, integer(abandonId, 0x50))
}

const message = (messageId: number, operation: Buffer) =>
  tlv(TAG.sequence, integer(messageId), operation)

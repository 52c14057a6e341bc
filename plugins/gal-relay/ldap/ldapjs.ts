// What we take from ldapjs, with the types it lacks: the parser of DNs, and the requests that
// open a connection. Its Client is not used. It waits for ever on a dead connection (issue 463),
// hides connection errors (403), forgets the bind when it reconnects (392), leaves callbacks uncalled,
// ends a search at the first intermediate response, and describes every message for a trace log that
// nobody reads, which is most of what a search with it costs.
import * as ldapjs from 'ldapjs'
import { integer, octets, TAG, tlv } from './ber'

/** A request of ldapjs that knows its BER. */
interface Message {
  toBer(): { readonly buffer: Buffer }
}

interface Untyped {
  parseDN(text: string): unknown
  resultCodeToName(code: number): string | undefined
  BindRequest: new (o: { messageId: number; name: string; credentials: string }) => Message
  ExtendedRequest: new (o: { messageId: number; requestName: string }) => Message
  UnbindRequest: new (o: { messageId: number }) => Message
  AbandonRequest: new (o: { messageId: number; abandonId: number }) => Message
}

const { parseDN, resultCodeToName, BindRequest, ExtendedRequest, UnbindRequest, AbandonRequest } =
  ldapjs as unknown as Untyped

export { parseDN }

/** `no such object (32)`: a result code for people. */
export function resultName(code: number): string {
  const name = resultCodeToName(code)
  return name ? `${name.toLowerCase().replaceAll('_', ' ')} (${code})` : `result code ${code}`
}

const START_TLS = '1.3.6.1.4.1.1466.20037'

/** A simple bind (RFC 4511 §4.2); the name is whatever the server knows accounts by. */
export function bindRequest(messageId: number, name: string, credentials: string): Buffer {
  return new BindRequest({ messageId, name, credentials }).toBer().buffer
}

/**
 * A bind by SASL EXTERNAL (RFC 4513 §5.2.3): who we are, the server knows from our certificate or, on a
 * Unix-domain socket, from the system. ldapjs has simple binds only.
 */
export function externalBindRequest(messageId: number): Buffer {
  // Without credentials the server asks for them; empty ones name no other identity.
  const sasl = tlv(0xa3, octets('EXTERNAL'), octets(''))
  const bind = tlv(0x60, integer(LDAP_VERSION), octets(''), sasl)
  return tlv(TAG.sequence, integer(messageId), bind)
}

const LDAP_VERSION = 3

/** RFC 4511 §4.14 */
export function startTlsRequest(messageId: number): Buffer {
  return new ExtendedRequest({ messageId, requestName: START_TLS }).toBer().buffer
}

/** RFC 4511 §4.3 */
export function unbindRequest(messageId: number): Buffer {
  return new UnbindRequest({ messageId }).toBer().buffer
}

/** RFC 4511 §4.11; nothing answers it. */
export function abandonRequest(messageId: number, abandonId: number): Buffer {
  return new AbandonRequest({ messageId, abandonId }).toBer().buffer
}

// Why a directory server gave no answer. No failure ever means that an address is not in the list.
import { shortened, visible } from '../visible'
import { resultName } from './ldapjs'

export type Failure =
  /** No connection, or it ended: refused, lost, or closed by us. */
  | 'connection'
  /** No answer in time. */
  | 'timeout'
  /** The server refused the account's name or password. */
  | 'credentials'
  /** Name or password were refused several times and are not tried again yet. */
  | 'waiting'
  /** TLS was refused, or the certificate is not the expected one. */
  | 'tls'
  /** The data received is not LDAP, or violates the protocol. */
  | 'protocol'
  /** A result code other than success. */
  | 'result'
  /** The answer was success but proves nothing. */
  | 'unproven'
  /** An entry or an answer is larger than what is read. */
  | 'oversize'
  /** Too many searches were waiting already. */
  | 'overload'

/** A result code: the server looks through no more entries for this account, often for want of an index. */
export const ADMIN_LIMIT_EXCEEDED = 11

/** The result code of a search that reached its size limit. */
export const SIZE_LIMIT_EXCEEDED = 4

/** The result code of a search below an entry that does not exist. */
export const NO_SUCH_OBJECT = 32

/** The most characters in a message. */
const LONGEST = 1000

export class DirectoryError extends Error {
  override readonly name = 'DirectoryError'

  /** @param code the LDAP result code (RFC 4511 §4.1.9), with failure `result` */
  constructor(
    readonly failure: Failure,
    message: string,
    readonly code?: number,
  ) {
    // Much of it comes from others: names in certificates, DNS and referrals.
    super(visible(shortened(message, LONGEST)))
  }
}

/** The result code of a search whose base lies on another server. */
const REFERRAL = 10

/**
 * Reports a result code other than success; the server's text is shortened and made printable.
 * @param references the URLs of a referral
 */
export function resultError(
  code: number,
  diagnostic: string,
  references: readonly string[] = [],
): DirectoryError {
  if (code === REFERRAL && references.length > 0) {
    const target = printable(references.join(' or '))
    const text = `the base is a referral to ${target}: name that server in url[] and its base in base`
    return new DirectoryError('result', text, code)
  }
  const words = printable(diagnostic)
  return new DirectoryError('result', `${resultName(code)}${words && `: ${words}`}`, code)
}

/** Converts anything thrown to a DirectoryError. */
export function directoryError(error: unknown): DirectoryError {
  if (error instanceof DirectoryError) return error
  const text = error instanceof Error ? error.message || error.name : String(error)
  return new DirectoryError('connection', printable(text))
}

/** Makes text from a server fit for one line in a log. */
export function printable(text: string): string {
  const line = text
    .slice(0, 10_000)
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
  return shortened(line, 200)
}

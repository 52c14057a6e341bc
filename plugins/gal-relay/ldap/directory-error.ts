// Why a directory server gave no answer. None of these ever means that an address is not in the list.
import { shortened, visible } from '../visible'
import { resultName } from './ldapjs'

export type Failure =
  /** No connection, or it ended: refused, cut, closed by us. */
  | 'connection'
  /** No answer in time. */
  | 'timeout'
  /** The server refused the account's name or password. */
  | 'credentials'
  /** They were refused several times, and are not tried again yet. */
  | 'waiting'
  /** TLS was refused, or the certificate is not the one that was expected. */
  | 'tls'
  /** What came is not LDAP, or breaks its rules. */
  | 'protocol'
  /** A result code other than success. */
  | 'result'
  /** The answer was success, and yet says nothing that may be relied on. */
  | 'unproven'
  /** More came than is read: an entry or an answer without end. */
  | 'oversize'
  /** More searches than we send at a time were waiting already. */
  | 'overload'

/** The result code of a search that brought as many entries as it was to bring at most. */
export const SIZE_LIMIT_EXCEEDED = 4

/** Characters of a message. */
const LONGEST = 1000

export class DirectoryError extends Error {
  override readonly name = 'DirectoryError'

  /** @param code the LDAP result code (RFC 4511 §4.1.9), with failure `result` */
  constructor(
    readonly failure: Failure,
    message: string,
    readonly code?: number,
  ) {
    // Much of it is others' words: names in certificates, in DNS, in referrals.
    super(visible(shortened(message, LONGEST)))
  }
}

/** The result code of a search whose base lies on another server. */
const REFERRAL = 10

/**
 * For a result code that is not success; the server's own words are cut short and made printable.
 * @param references where a referral leads to
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

/** Whatever was thrown, as one of ours. */
export function directoryError(error: unknown): DirectoryError {
  if (error instanceof DirectoryError) return error
  const text = error instanceof Error ? error.message || error.name : String(error)
  return new DirectoryError('connection', printable(text))
}

/** Text that a server sent, fit for one line of a log. */
export function printable(text: string): string {
  const line = text
    .slice(0, 10_000)
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
  return shortened(line, 200)
}

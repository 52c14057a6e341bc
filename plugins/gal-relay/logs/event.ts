// What a mail server's log says, in any format: transactions with the answers to their recipients, and events
// of the server itself.

/** What an answer to RCPT means to the sender: 2xx, 5xx or 4xx. */
export type Outcome = 'accepted' | 'refused' | 'deferred'

export interface LoggedRecipient {
  /** As the client sent it, without angle brackets, as far as it is logged. */
  readonly address: string
  /** `unclear` if the log does not say which. */
  readonly outcome: Outcome | 'unclear'
  /** The reply, as far as it is logged, or ''. */
  readonly reply: string
  /** The rule that decided; '' if the log does not name one of ours. */
  readonly rule: string
  /** Why another server or plugin refused it, if not because of the recipient; otherwise ''. */
  readonly otherReason: string
  /** What the plugin would have answered, if it observed. */
  readonly observed: { readonly reply: string; readonly differs: boolean } | undefined
}

/** Where the client connected; without address if only the port is known. */
export interface LocalAddress {
  readonly address: string
  readonly port: number
}

export interface LoggedTransaction {
  readonly type: 'transaction'
  /** Milliseconds since 1970; undefined if the log has no times. */
  readonly at: number | undefined
  /** IP address, or '' if it is not logged. */
  readonly client: string
  readonly host: string
  /** '' for none; undefined if it is not logged. */
  readonly account: string | undefined
  readonly local: LocalAddress | undefined
  /** '' is the null sender. */
  readonly sender: string
  readonly recipients: readonly LoggedRecipient[]
}

/** An event of the server itself. */
export interface LoggedNotice {
  readonly type: 'notice'
  readonly about: 'directory' | 'harvest'
  readonly at: number | undefined
  readonly text: string
}

export type LogEvent = LoggedTransaction | LoggedNotice

/** Reads the lines of one log in order, and emits events once they are complete. */
export interface LogReader {
  /** @param line without its line end */
  line(line: string): void
  /** The log has ended. */
  end(): void
}

/** @param now milliseconds since 1970, because syslog leaves out the year */
export type OpenLog = (emit: (event: LogEvent) => void, now: number) => LogReader

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'
const ISO = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?/
const SYSLOG = /^([A-Z][a-z]{2}) +(\d+) (\d\d):(\d\d):(\d\d)/
const DAY = 86_400_000

/** @returns the time of the line in milliseconds since 1970; undefined if it has none */
export function timeOf(line: string, now: number): number | undefined {
  const start = line.slice(0, 40)
  const [iso] = ISO.exec(start) ?? []
  if (iso) return definite(Date.parse(iso.replace(' ', 'T').replace(',', '.')))
  const [, month = '', ...numbers] = SYSLOG.exec(start) ?? []
  const place = month ? MONTHS.indexOf(month) / 3 : -1
  if (!Number.isInteger(place) || place < 0) return undefined
  const [day = 0, hour = 0, minute = 0, second = 0] = numbers.map(Number)
  const year = new Date(now).getFullYear()
  const at = new Date(year, place, day, hour, minute, second).getTime()
  // A December log that is read in January.
  return at > now + DAY ? new Date(year - 1, place, day, hour, minute, second).getTime() : at
}

const definite = (at: number) => (Number.isNaN(at) ? undefined : at)

// What the log of any mail server says: transactions with the answers to their recipients, and
// events that affected the server.

/** What a reply to RCPT means to the sender: 2xx, 5xx or 4xx. */
export type Outcome = 'accepted' | 'refused' | 'deferred'

export interface LoggedRecipient {
  /** As sent, without angle brackets, as far as the log records it. */
  readonly address: string
  /** `unclear` if the log does not say. */
  readonly outcome: Outcome | 'unclear'
  /** The reply as far as the log records it; otherwise ''. */
  readonly reply: string
  /** The rule that decided; '' if the log names none of ours. */
  readonly rule: string
  /** Why another server or plugin refused it, if the reason was not the recipient; otherwise ''. */
  readonly otherReason: string
  /** What the plugin would have answered, if it only observed. */
  readonly observed: { readonly reply: string; readonly differs: boolean } | undefined
}

/** Where the client connected to; the address is empty if only the port is known. */
export interface LocalAddress {
  readonly address: string
  readonly port: number
}

export interface LoggedTransaction {
  readonly type: 'transaction'
  /** Milliseconds since 1970; `undefined` if the log has no times. */
  readonly at: number | undefined
  /** IP address; '' if the log does not say. */
  readonly client: string
  readonly host: string
  /** '' if there is none; `undefined` if the log does not say. */
  readonly account: string | undefined
  readonly local: LocalAddress | undefined
  /** '' is the null sender. */
  readonly sender: string
  readonly recipients: readonly LoggedRecipient[]
}

/** An event that affected the server. */
export interface LoggedNotice {
  readonly type: 'notice'
  readonly about: 'directory' | 'harvest'
  readonly at: number | undefined
  readonly text: string
}

export type LogEvent = LoggedTransaction | LoggedNotice

/** Takes the lines of one log in order, and emits what they say as soon as it is known. */
export interface LogReader {
  /** @param line without its line ending */
  line(line: string): void
  /** Call this after the last line. */
  end(): void
}

/** @param now milliseconds since 1970; needed because syslog omits the year */
export type OpenLog = (emit: (event: LogEvent) => void, now: number) => LogReader

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'
const ISO = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?/
const SYSLOG = /^([A-Z][a-z]{2}) +(\d+) (\d\d):(\d\d):(\d\d)/
const DAY = 86_400_000

/** @returns the line's time, in milliseconds since 1970; `undefined` if it has none */
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
  // A line from December that is read in January.
  return at > now + DAY ? new Date(year - 1, place, day, hour, minute, second).getTime() : at
}

const definite = (at: number) => (Number.isNaN(at) ? undefined : at)

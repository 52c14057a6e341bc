// What the log of a mail server says, whoever wrote it: transactions with the answers to their
// recipients, and what befell the server.

/** What an answer to RCPT means to the sender: 2xx, 5xx or 4xx. */
export type Outcome = 'accepted' | 'refused' | 'deferred'

export interface LoggedRecipient {
  /** As it was sent, without angle brackets, as far as the log has it. */
  readonly address: string
  /** `unclear`: the log does not say which. */
  readonly outcome: Outcome | 'unclear'
  /** The reply as far as the log has it; '' where it does not. */
  readonly reply: string
  /** The rule that decided; '' where the log does not name one of ours. */
  readonly rule: string
  /** What another server or plugin refused it for, where that was not the recipient; else ''. */
  readonly otherReason: string
  /** Where the plugin observed: what it would have answered. */
  readonly observed: { readonly reply: string; readonly differs: boolean } | undefined
}

/** Where the client connected to; no address where only the port is known. */
export interface LocalAddress {
  readonly address: string
  readonly port: number
}

export interface LoggedTransaction {
  readonly type: 'transaction'
  /** Milliseconds since 1970; undefined where the log has no times. */
  readonly at: number | undefined
  /** IP address; '' where the log does not say. */
  readonly client: string
  readonly host: string
  /** '' is none; undefined: the log does not say. */
  readonly account: string | undefined
  readonly local: LocalAddress | undefined
  /** '' is the null sender. */
  readonly sender: string
  readonly recipients: readonly LoggedRecipient[]
}

/** What befell the server. */
export interface LoggedNotice {
  readonly type: 'notice'
  readonly about: 'directory' | 'harvest'
  readonly at: number | undefined
  readonly text: string
}

export type LogEvent = LoggedTransaction | LoggedNotice

/** Takes the lines of one log, in order, and gives what they say once that is known. */
export interface LogReader {
  /** @param line without its line end */
  line(line: string): void
  /** There are no more. */
  end(): void
}

/** @param now milliseconds since 1970: logs of syslog leave out the year */
export type OpenLog = (emit: (event: LogEvent) => void, now: number) => LogReader

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'
const ISO = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?/
const SYSLOG = /^([A-Z][a-z]{2}) +(\d+) (\d\d):(\d\d):(\d\d)/
const DAY = 86_400_000

/** @returns when the line was written, milliseconds since 1970; undefined where it does not say */
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
  // Of December, read in January.
  return at > now + DAY ? new Date(year - 1, place, day, hour, minute, second).getTime() : at
}

const definite = (at: number) => (Number.isNaN(at) ? undefined : at)

// The answer to one look-up. Anything too large to read is left out, which is recorded: the search
// can then still find an address, but cannot prove that there is none.
import type { BerReader } from './ber'
import { DirectoryError } from './directory-error'
import { type Entry, readEntry, sizeOf } from './entry'
import { ANSWER, type EntryLimits, HELD, LOOK_UP } from './limits'

export interface Answer {
  readonly entries: Entry[]
  /** URLs where parts of the answer can be found. */
  readonly references: string[]
  messages: number
  /** The total size of the entries: bytes, and attributes and values. */
  bytes: number
  values: number
  /** What was not read, as a sentence. */
  leftOut: string | undefined
}

/** There may be many answers of this size at a time. */
const SMALL: EntryLimits = { bytes: 65_536, values: 1000 }

export const emptyAnswer = (): Answer => ({
  entries: [],
  references: [],
  messages: 0,
  bytes: 0,
  values: 0,
  leftOut: undefined,
})

/**
 * @param body a reader inside a SearchResultEntry
 * @throws MalformedBer
 */
export function addEntry(answer: Answer, body: BerReader): void {
  const bytes = body.limit - body.at
  try {
    const entry = readEntry(body, LOOK_UP.values)
    answer.entries.push(entry)
    answer.bytes += bytes
    answer.values += sizeOf(entry)
  } catch (error) {
    if (!(error instanceof DirectoryError)) throw error
    answer.leftOut = error.message
  }
}

/** @param urls from a SearchResultReference or a referral */
export function addReferences(answer: Answer, urls: readonly string[]): void {
  const room = ANSWER.references - answer.references.length
  answer.references.push(...urls.slice(0, room))
  if (urls.length > room) answer.leftOut = `more than ${ANSWER.references} references are not read`
}

/**
 * Counts a message of any kind.
 * @param all all pending requests of the connection
 * @returns whether to read nothing more of this answer
 */
export function isFull(answer: Answer, all: Iterable<{ readonly answer: Answer }>): boolean {
  const isEndless = ++answer.messages >= ANSWER.messages
  const own = isEndless ? `${ANSWER.messages} messages` : exceeded(answer, ANSWER)
  if (own) {
    answer.leftOut = `an answer of more than ${own} is not read to its end`
    return true
  }
  // Only a few answers are so large that their total matters.
  if (answer.bytes < SMALL.bytes && answer.values < SMALL.values) return false
  const held = { bytes: 0, values: 0 }
  for (const { answer } of all) {
    held.bytes += answer.bytes
    held.values += answer.values
  }
  const most = exceeded(held, HELD)
  if (most) answer.leftOut = `answers of more than ${most} come at the same time`
  return most !== undefined
}

/** @returns the limit that is exceeded, in words */
function exceeded(size: EntryLimits, most: EntryLimits): string | undefined {
  if (size.bytes > most.bytes) return `${most.bytes} bytes`
  return size.values > most.values ? `${most.values} values` : undefined
}

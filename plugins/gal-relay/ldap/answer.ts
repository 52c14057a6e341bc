// What has come for one look-up. What is larger than is read is left out, and said: the search can then
// find an address, and cannot show that there is none.
import type { BerReader } from './ber'
import { DirectoryError } from './directory-error'
import { type Entry, readEntry, sizeOf } from './entry'
import { ANSWER, type EntryLimits, HELD, LOOK_UP } from './limits'

export interface Answer {
  readonly entries: Entry[]
  /** URLs where parts of it can be found. */
  readonly references: string[]
  messages: number
  /** Of the entries. */
  bytes: number
  values: number
  /** What was not read, as a sentence. */
  leftOut: string | undefined
}

/** An answer of which there may be many at a time. */
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
 * @param body inside a SearchResultEntry
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

/** @param urls of a SearchResultReference, or of a referral */
export function addReferences(answer: Answer, urls: readonly string[]): void {
  const room = ANSWER.references - answer.references.length
  answer.references.push(...urls.slice(0, room))
  if (urls.length > room) answer.leftOut = `more than ${ANSWER.references} references are not read`
}

/**
 * Counts a message of whatever kind.
 * @param all the answers that are coming on the connection
 * @returns whether nothing more of it is to be read
 */
export function isFull(answer: Answer, all: () => Iterable<Answer>): boolean {
  const isEndless = ++answer.messages >= ANSWER.messages
  const own = isEndless ? `${ANSWER.messages} messages` : exceeded(answer, ANSWER)
  if (own) {
    answer.leftOut = `an answer of more than ${own} is not read to its end`
    return true
  }
  // Few answers are so large that their sum matters.
  if (answer.bytes < SMALL.bytes && answer.values < SMALL.values) return false
  const held = { bytes: 0, values: 0 }
  for (const { bytes, values } of all()) {
    held.bytes += bytes
    held.values += values
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

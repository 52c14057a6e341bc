// How much a server may send, whoever it is: memory and the event loop have an end. A look-up needs
// little, the whole list much; each has room for far more than real directories hold.
import { DirectoryError } from './directory-error'
import type { Sink } from './search-result'

const MIB = 1024 * 1024

/** Of one entry: bytes of its message; attributes and values together. */
export interface EntryLimits {
  readonly bytes: number
  readonly values: number
}

/** Of an entry that comes for a look-up: one with tens of thousands of values is read. */
export const LOOK_UP: EntryLimits = { bytes: 4 * MIB, values: 25_000 }
/** Of an entry of the list: a message of 16 MiB may hold five million values, which take seconds. */
export const READING: EntryLimits = { bytes: 16 * MIB, values: 250_000 }

/** Of all that comes for one look-up: messages, and what their entries hold. */
export const ANSWER = {
  messages: 1000,
  references: 100,
  bytes: 2 * LOOK_UP.bytes,
  values: 2 * LOOK_UP.values,
}
/** Of what all look-ups under way on one connection hold. */
export const HELD = { bytes: 8 * LOOK_UP.bytes, values: 8 * LOOK_UP.values }
/** Of an entry's values that come in ranges, and requests for them. */
export const RANGES = { requests: 200, values: 150_000 }
/** Entries of one page of which more values must be asked for. */
export const CUT_SHORT = 10_000
/** Bytes that nobody waits for: what an abandoned search still brings, no more. */
export const UNASKED = 64 * MIB

/** Of one reading of the list. */
const LIST = { entries: 20_000_000, values: 100_000_000 }

/** Ends a search that brings more than any list holds: the sink's `entry` throws then. */
export function bounded(sink: Sink, most = LIST): Sink {
  let entries = 0
  let values = 0
  return {
    ...sink,
    entry: (entry, controls) => {
      entries++
      for (const attribute of entry.attributes) values += attribute.values.length
      if (entries > most.entries || values > most.values) {
        const what = `${most.entries} entries or ${most.values} values`
        throw new DirectoryError('oversize', `the directory sends more than ${what}`)
      }
      sink.entry(entry, controls)
    },
  }
}

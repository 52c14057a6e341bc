// How much any server may send, because memory and time on the event loop are limited. A look-up
// needs little, the whole list much; both limits are far above what real directories hold.
import { DirectoryError } from './directory-error'
import type { Sink } from './search-result'

const MIB = 1024 * 1024

/** Limits for one entry: bytes of its message, and its attributes and values together. */
export interface EntryLimits {
  readonly bytes: number
  readonly values: number
}

/** For an entry in a look-up: an entry with tens of thousands of values is still read. */
export const LOOK_UP: EntryLimits = { bytes: 4 * MIB, values: 25_000 }
/** For an entry of the list: a message of 16 MiB may hold five million values and take seconds. */
export const READING: EntryLimits = { bytes: 16 * MIB, values: 250_000 }

/** For everything that comes for one look-up: the messages, and what their entries hold. */
export const ANSWER = {
  messages: 1000,
  references: 100,
  bytes: 2 * LOOK_UP.bytes,
  values: 2 * LOOK_UP.values,
}
/** For everything that the pending look-ups of one connection hold. */
export const HELD = { bytes: 8 * LOOK_UP.bytes, values: 8 * LOOK_UP.values }
/** For an entry's values that come in ranges, and the requests for them. */
export const RANGES = { requests: 200, values: 150_000 }
/** Entries of one page for which more values must be requested. */
export const CUT_SHORT = 10_000
/** Bytes that nothing waits for: enough for what an abandoned search still brings. */
export const UNASKED = 64 * MIB

/** For one reading of the list. */
const LIST = { entries: 20_000_000, values: 100_000_000 }

/** Ends a search that brings more than any list holds, by throwing from the sink's `entry`. */
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

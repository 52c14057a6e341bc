// The log files that a command gets, with their kind detected by content.
import type { LogEvent, LogReader } from '../logs/event'
import { LOG_KINDS, type LogKind, logKindOf } from '../logs/table'
import { CannotRun } from './install'
import { linesByPiece, nameOf, STDIN, sizeOf } from './lines'

export interface LogProgress {
  readonly file: string
  /** Bytes, of all files. */
  readonly read: number
  /** undefined if unknown, as for standard input. */
  readonly total: number | undefined
}

export interface LogConsumer {
  /** Reading continues once it settles. */
  readonly take: (events: readonly LogEvent[]) => Promise<void>
  readonly onProgress?: (progress: LogProgress) => void
}

/** The kind must be known after this many lines. */
const LINES_UNKNOWN_MOST = 100_000

/**
 * @param files in the order in which they were written; `-` is standard input, and gzip is unpacked
 * @returns the kinds that were found
 * @throws CannotRun if a file does not exist, cannot be read, or its kind is unknown
 */
export async function readLogs(
  files: readonly string[],
  now: number,
  { take, onProgress }: LogConsumer,
): Promise<readonly LogKind[]> {
  const sizes = files.map((file) => (file === STDIN ? undefined : sizeOf(file)))
  const total = sizes.reduce(
    (sum, size) => (sum === undefined || size === undefined ? undefined : sum + size),
    0,
  )
  let events: LogEvent[] = []
  // A connection may begin in one file and end in the next.
  const readers = new Map<LogKind, LogReader>()
  const readerOf = (kind: LogKind) => {
    const reader = readers.get(kind) ?? kind.open((event) => events.push(event), now)
    readers.set(kind, reader)
    return reader
  }
  const pass = async () => {
    const found = events
    events = []
    if (found.length > 0) await take(found)
  }
  let read = 0
  for (const file of files) {
    const log = new LogOfOneKind(file, readerOf)
    const counted = (bytes: number) => {
      read += bytes
      onProgress?.({ file, read, total })
    }
    for await (const lines of linesByPiece(file, counted)) {
      for (const line of lines) log.line(line)
      await pass()
    }
    log.end()
  }
  for (const reader of readers.values()) reader.end()
  await pass()
  return LOG_KINDS.filter((kind) => readers.has(kind))
}

/** The lines of a file are kept until its kind is known. */
class LogOfOneKind {
  readonly #file: string
  readonly #readerOf: (kind: LogKind) => LogReader
  #reader: LogReader | undefined
  #before: string[] = []

  constructor(file: string, readerOf: (kind: LogKind) => LogReader) {
    this.#file = file
    this.#readerOf = readerOf
  }

  /** @throws CannotRun if its kind should be known but is not */
  line(line: string): void {
    if (this.#reader) {
      this.#reader.line(line)
      return
    }
    const kind = logKindOf(line)
    this.#before.push(line)
    if (kind) {
      this.#reader = this.#readerOf(kind)
      for (const one of this.#before) this.#reader.line(one)
      this.#before = []
    } else if (this.#before.length > LINES_UNKNOWN_MOST) throw this.#unknown()
  }

  /** @throws CannotRun if it has lines, but its kind is unknown */
  end(): void {
    if (!this.#reader && this.#before.some((line) => line.trim() !== '')) throw this.#unknown()
  }

  #unknown(): CannotRun {
    const kinds = LOG_KINDS.map(({ title }) => title).join(', ')
    return new CannotRun(`${nameOf(this.#file)} is no log of a kind that is known: ${kinds}`)
  }
}

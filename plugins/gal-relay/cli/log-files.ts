// The logs given to a command; their content shows of which kind they are.
import type { LogEvent, LogReader } from '../logs/event'
import { LOG_KINDS, type LogKind, logKindOf } from '../logs/table'
import { CannotRun } from './install'
import { linesByPiece, nameOf, STDIN, sizeOf } from './lines'

export interface LogProgress {
  readonly file: string
  /** Bytes of all files together. */
  readonly read: number
  /** `undefined` if it is not known, as for standard input. */
  readonly total: number | undefined
}

export interface LogConsumer {
  /** Reading goes on once the promise settles. */
  readonly take: (events: readonly LogEvent[]) => Promise<void>
  readonly onProgress?: (progress: LogProgress) => void
}

/** The lines within which the kind of a log must show. */
const LINES_UNKNOWN_MOST = 100_000

/**
 * @param files in the order in which they were written; `-` is standard input; files packed with gzip are
 *   unpacked
 * @returns the kinds that were found
 * @throws CannotRun if a file does not exist, cannot be read, or is of no known kind
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
  // What starts in one file may end in the next.
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

/** Keeps the lines of one file until its kind is known. */
class LogOfOneKind {
  readonly #file: string
  readonly #readerOf: (kind: LogKind) => LogReader
  #reader: LogReader | undefined
  #before: string[] = []

  constructor(file: string, readerOf: (kind: LogKind) => LogReader) {
    this.#file = file
    this.#readerOf = readerOf
  }

  /** @throws CannotRun if its kind should be known by this line but is not */
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

  /** @throws CannotRun if it has lines but is of no known kind */
  end(): void {
    if (!this.#reader && this.#before.some((line) => line.trim() !== '')) throw this.#unknown()
  }

  #unknown(): CannotRun {
    const kinds = LOG_KINDS.map(({ title }) => title).join(', ')
    return new CannotRun(`${nameOf(this.#file)} is no log of a kind that is known: ${kinds}`)
  }
}

// The logs that a command is given: found to be of a kind by their content, and read in pieces, however
// long they are.
import { createReadStream, type Stats, statSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip } from 'node:zlib'
import type { LogEvent, LogReader } from '../logs/event'
import { LOG_KINDS, type LogKind, logKindOf } from '../logs/table'
import { CannotRun } from './install'
import { unreadableFile } from './lines'

/** Of standard input. */
export const STANDARD_INPUT = '-'

export interface LogProgress {
  readonly file: string
  /** Bytes, of all files. */
  readonly read: number
  /** undefined while that is not known: standard input. */
  readonly total: number | undefined
}

export interface LogConsumer {
  /** Reading goes on when it settles. */
  readonly take: (events: readonly LogEvent[]) => Promise<void>
  readonly onProgress?: (progress: LogProgress) => void
}

const PIECE = 1 << 20
/** A kind is known by then, or there is none. */
const LINES_UNKNOWN_MOST = 100_000
/** Longer lines are no log's. */
const LINE_MOST = 1 << 22

/**
 * @param files in the order in which they were written; `-` is standard input, and what gzip has packed is
 *   unpacked
 * @returns the kinds that were found
 * @throws CannotRun when one is not there, cannot be read, or is of no known kind
 */
export async function readLogs(
  files: readonly string[],
  now: number,
  { take, onProgress }: LogConsumer,
): Promise<readonly LogKind[]> {
  const sizes = files.map((file) => (file === STANDARD_INPUT ? undefined : sizeOf(file)))
  const total = sizes.reduce(
    (sum, size) => (sum === undefined || size === undefined ? undefined : sum + size),
    0,
  )
  let events: LogEvent[] = []
  // What began in one file may end in the next.
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
    const lines = new LogLines(file, readerOf)
    const counted = (bytes: number) => {
      read += bytes
      onProgress?.({ file, read, total })
    }
    for await (const text of piecesOf(file, counted)) {
      lines.add(text)
      await pass()
    }
    lines.end()
  }
  for (const reader of readers.values()) reader.end()
  await pass()
  return LOG_KINDS.filter((kind) => readers.has(kind))
}

/** The lines of one file, kept until its kind is known. */
class LogLines {
  readonly #file: string
  readonly #readerOf: (kind: LogKind) => LogReader
  #reader: LogReader | undefined
  #before: string[] = []
  #rest = ''

  constructor(file: string, readerOf: (kind: LogKind) => LogReader) {
    this.#file = file
    this.#readerOf = readerOf
  }

  /** @throws CannotRun when its kind should be known by now */
  add(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > LINE_MOST) this.#rest = ''
    for (const line of lines) this.#line(line.endsWith('\r') ? line.slice(0, -1) : line)
  }

  end(): void {
    if (this.#rest) this.#line(this.#rest)
    if (!this.#reader && this.#before.some((line) => line.trim() !== '')) throw this.#unknown()
  }

  #line(line: string): void {
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

  #unknown(): CannotRun {
    const kinds = LOG_KINDS.map(({ title }) => title).join(', ')
    return new CannotRun(`${nameOf(this.#file)} is no log of a kind that is known: ${kinds}`)
  }
}

const nameOf = (file: string) => (file === STANDARD_INPUT ? 'standard input' : file)

async function* piecesOf(
  file: string,
  onRead: (bytes: number) => void,
): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder('utf8')
  try {
    const raw: AsyncIterable<Buffer> =
      file === STANDARD_INPUT ? process.stdin : createReadStream(file, { highWaterMark: PIECE })
    for await (const bytes of unpacked(raw, onRead)) yield decoder.write(bytes)
    yield decoder.end()
  } catch (error) {
    if (error instanceof CannotRun || !(error instanceof Error)) throw error
    throw unreadableFile(nameOf(file), error)
  }
}

/** What begins as gzip's files do is unpacked. */
async function* unpacked(
  raw: AsyncIterable<Buffer>,
  onRead: (bytes: number) => void,
): AsyncGenerator<Buffer, void, undefined> {
  const pieces = raw[Symbol.asyncIterator]()
  const first = await pieces.next()
  if (first.done) return
  async function* all() {
    for (let piece: IteratorResult<Buffer> = first as IteratorResult<Buffer>; !piece.done; ) {
      onRead(piece.value.length)
      yield piece.value
      piece = await pieces.next()
    }
  }
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* all()
  const gunzip = createGunzip({ chunkSize: PIECE })
  const done = pipeline(Readable.from(all()), gunzip)
  // It is awaited when all has been taken.
  done.catch(() => {})
  yield* gunzip
  await done
}

/** @throws CannotRun */
function sizeOf(file: string): number {
  let stats: Stats | undefined
  try {
    stats = statSync(file, { throwIfNoEntry: false })
  } catch (error) {
    throw unreadableFile(file, error)
  }
  if (!stats) throw new CannotRun(`there is no file ${file}`)
  if (stats.isDirectory()) throw new CannotRun(`${file} is a folder; name the files in it`)
  return stats.size
}

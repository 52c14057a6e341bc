// The lines of a file or of standard input, read in pieces because they may be long. Input packed
// with gzip is unpacked.
import { createReadStream, type Stats, statSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip } from 'node:zlib'
import { CannotRun } from './install'

/** Means standard input instead of a file. */
export const STDIN = '-'

/** For messages. */
export const nameOf = (file: string) => (file === STDIN ? 'standard input' : file)

const PIECE = 1 << 20
/** No log has longer lines. */
const LINE_MOST = 1 << 22

/**
 * @returns the lines of a file, or of {@link STDIN}, without line endings
 * @throws CannotRun if it cannot be read
 */
export async function* linesOf(file: string): AsyncGenerator<string> {
  for await (const lines of linesByPiece(file)) yield* lines
}

/**
 * The same, in arrays of all lines that have been read so far.
 * @param onRead called for each piece with its size in the file, in bytes
 */
export async function* linesByPiece(
  file: string,
  onRead: (bytes: number) => void = () => {},
): AsyncGenerator<readonly string[]> {
  let rest = ''
  for await (const text of piecesOf(file, onRead)) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LINE_MOST) rest = ''
    yield lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
  }
  if (rest) yield [rest]
}

/** The error for a file or folder that cannot be read. */
export function unreadableFile(name: string, error: unknown): CannotRun {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return new CannotRun(`there is no file ${name}`)
  const reason = code === 'EACCES' ? 'permission denied' : message
  return new CannotRun(`${name} cannot be read: ${reason}`)
}

/** @throws CannotRun if there is no such file, or it is a folder */
export function sizeOf(file: string): number {
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

async function* piecesOf(
  file: string,
  onRead: (bytes: number) => void,
): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder('utf8')
  try {
    for await (const bytes of unpacked(opened(file), onRead)) yield decoder.write(bytes)
    yield decoder.end()
  } catch (error) {
    if (error instanceof CannotRun || !(error instanceof Error)) throw error
    throw unreadableFile(nameOf(file), error)
  }
}

function opened(file: string): AsyncIterable<Buffer> {
  if (file === STDIN) {
    if (process.stdin.isTTY) throw new CannotRun('standard input is a terminal: name a file')
    return process.stdin
  }
  sizeOf(file)
  return createReadStream(file, { highWaterMark: PIECE })
}

/** Unpacks data that begins like a gzip file. */
async function* unpacked(
  raw: AsyncIterable<Buffer>,
  onRead: (bytes: number) => void,
): AsyncGenerator<Buffer, void, undefined> {
  const pieces = raw[Symbol.asyncIterator]()
  const first = await pieces.next()
  if (first.done) return
  async function* all() {
    try {
      for (let piece: IteratorResult<Buffer> = first as IteratorResult<Buffer>; !piece.done; ) {
        onRead(piece.value.length)
        yield piece.value
        piece = await pieces.next()
      }
    } finally {
      // A caller that has read enough must not wait for standard input to end.
      await pieces.return?.()
    }
  }
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* all()
  const gunzip = createGunzip({ chunkSize: PIECE })
  const done = pipeline(Readable.from(all()), gunzip)
  // It is awaited once all data has been read.
  done.catch(() => {})
  yield* gunzip
  await done
}

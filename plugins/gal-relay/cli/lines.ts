// Lines of a file or of standard input, one by one.
import { createReadStream, statSync } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { guard } from '../guard'
import { CannotRun } from './install'

/** Stands for standard input where a file is named. */
export const STDIN = '-'

/**
 * @param name a file, unpacked if it ends in .gz, or {@link STDIN}
 * @returns its lines, without their ends
 * @throws CannotRun when it cannot be read
 */
export async function* linesOf(name: string): AsyncGenerator<string> {
  let rest = ''
  try {
    for await (const chunk of opened(name).setEncoding('utf8')) {
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) yield line.replace(/\r$/, '')
    }
  } catch (error) {
    if (error instanceof CannotRun) throw error
    throw unreadableFile(nameOf(name), error)
  }
  if (rest) yield rest
}

/** Why a file or folder cannot be read, as the command says it. */
export function unreadableFile(name: string, error: unknown): CannotRun {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return new CannotRun(`there is no file ${name}`)
  const reason = code === 'EACCES' ? 'permission denied' : message
  return new CannotRun(`${name} cannot be read: ${reason}`)
}

const nameOf = (name: string) => (name === STDIN ? 'standard input' : name)

function opened(name: string): NodeJS.ReadableStream {
  if (name === STDIN) {
    if (process.stdin.isTTY) throw new CannotRun('standard input is a terminal: name a file')
    return process.stdin
  }
  if (statSync(name).isDirectory()) throw new Error('it is a folder')
  const file = createReadStream(name)
  if (!name.endsWith('.gz')) return file
  const text = createGunzip()
  const failed = (error: Error) => text.destroy(error)
  file.on('error', guard('a packed file', failed))
  return file.pipe(text)
}

// Records which list of a channel was last in force, beside the file that the list is kept in. An
// older list is thus recognized even after a restart.
import { rename, writeFile } from 'node:fs/promises'
import { openOwn, type Trusted } from '../../trusted-file'

export interface Mark {
  readonly number: number
  /** How many of the list's changes were in force. */
  readonly changes: number
  /** The checksum of the file with the list, once there is one. */
  readonly file?: string
}

const SMALL = 4096
const NONE: Mark = { number: 0, changes: 0 }

export const markFileOf = (file: string) => `${file}.received`

/** @returns a mark with number 0 if there is none for this list */
export async function readMark(file: string, list: string, trusted: Trusted): Promise<Mark> {
  try {
    const handle = await openOwn(markFileOf(file), trusted, SMALL)
    try {
      const mark = JSON.parse(await handle.readFile('utf8')) as Mark & { readonly list: string }
      return mark.list === list ? mark : NONE
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return NONE
    throw error
  }
}

export async function writeMark(file: string, list: string, mark: Mark): Promise<void> {
  const unfinished = `${markFileOf(file)}.${process.pid}`
  await writeFile(unfinished, JSON.stringify({ list, ...mark }), { mode: 0o600 })
  await rename(unfinished, markFileOf(file))
}

/** Why a list is refused. */
export const older = (file: string, number: number, before: Mark) =>
  `it is from before the one in force (number ${number}, and number ${before.number} with ${before.changes} ` +
  `changes was in force); if it is to be used all the same, remove ${markFileOf(file)}`

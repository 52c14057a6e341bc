// Reads the files of Haraka's outbound queue while Haraka runs. A file has the length of its header in four
// bytes, the header as JSON, and the message. Each attempt renames the file.
import { type FileHandle, open, readdir } from 'node:fs/promises'
import path from 'node:path'
import { type QueueNote, queueNote } from './queue-note'

/** A message to one domain. */
export interface QueuedMessage {
  readonly domain: string
  readonly uuid: string
  readonly recipients: number
  /** The local part of the first. */
  readonly local: string
  /** Milliseconds since 1970. */
  readonly since: number
  readonly attempts: number
  /** undefined when the plugin accepted none of its recipients */
  readonly note: QueueNote | undefined
}

export interface QueueContents {
  readonly messages: readonly QueuedMessage[]
  /** Names of damaged files. */
  readonly unreadable: readonly string[]
  /** The limit was reached: there are more. */
  readonly isCut: boolean
}

/** Haraka may rename or remove a file after the folder has been listed. */
const MAX_READS = 20

/**
 * @param folder Haraka's queue folder
 * @param most the maximum number of messages to read, oldest first
 * @throws Error of the file system when folder or files cannot be read
 */
export async function readQueue(
  folder: string,
  most = Number.POSITIVE_INFINITY,
): Promise<QueueContents> {
  // A file that has gone may have been renamed: the folder is listed again.
  for (let look = 1; ; look++) {
    const { contents, isWhole } = await lookInto(folder, most)
    if (isWhole || look === MAX_READS) return contents
  }
}

async function lookInto(
  folder: string,
  most: number,
): Promise<{ contents: QueueContents; isWhole: boolean }> {
  const messages: QueuedMessage[] = []
  const unreadable: string[] = []
  let isWhole = true
  const files = (await readdir(folder)).filter((file) => NAME.test(file))
  // Sorted by arrival, in milliseconds since 1970, which has the same number of digits in all names.
  if (files.length > most) files.sort()
  for (const file of files.slice(0, most)) {
    const name = NAME.exec(file)
    if (!name) continue
    try {
      const message = await readMessage(path.join(folder, file), name)
      if (message) messages.push(message)
      else unreadable.push(file)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      isWhole = false
    }
  }
  return { contents: { messages, unreadable, isCut: files.length > most }, isWhole }
}

/** Arrival, next attempt, attempts so far. Haraka ignores files with other names, and so do we. */
const NAME = /^(\d+)_\d+_(\d+)_/

/** Enough for 100,000 recipients, which take about 20 MB. */
const LARGEST_HEADER = 1 << 28

/** @returns undefined for a broken file */
async function readMessage(
  file: string,
  [, came, attempts]: RegExpExecArray,
): Promise<QueuedMessage | undefined> {
  const handle = await open(file)
  try {
    const length = (await bytes(handle, 0, 4))?.readUInt32BE()
    if (length === undefined || length > LARGEST_HEADER) return undefined
    const todo = parse(await bytes(handle, 4, length))
    if (typeof todo?.domain !== 'string' || !Array.isArray(todo.rcpt_to)) return undefined
    return {
      domain: todo.domain,
      uuid: String(todo.uuid),
      recipients: todo.rcpt_to.length,
      local: String(todo.rcpt_to[0]?.user ?? ''),
      since: Number(todo.queue_time ?? came),
      attempts: Number(attempts),
      note: todo.notes && queueNote(todo.notes),
    }
  } finally {
    await handle.close()
  }
}

/** @returns undefined if the file is shorter */
async function bytes(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Buffer | undefined> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position)
  return bytesRead === length ? buffer : undefined
}

type Header = Partial<Haraka.Todo & { readonly queue_time: number }>

function parse(json: Buffer | undefined): Header | undefined {
  try {
    return json && (JSON.parse(json.toString()) as Header)
  } catch {
    return undefined
  }
}

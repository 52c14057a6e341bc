// After a restart, looks for the received list in the file in which it is kept. That is the
// published list if the mark beside it gives the file's checksum, and the file has at least as many
// changes as the mark.
import type { Trusted } from '../../trusted-file'
import { SnapshotReader, SnapshotWriter } from './file'
import type { Batch } from './file-format'
import { readMark } from './received-mark'

export interface ListOnDisk {
  readonly writer: SnapshotWriter
  /** How many changes of the published list are in it. */
  readonly changes: number
  readonly last: Batch
  readonly takenAt: number
}

/**
 * @param number of the published list
 * @returns `undefined` unless the whole list, up to some change, is known to be there
 */
export async function listOnDisk(
  file: string,
  list: string,
  number: number,
  fingerprint: Buffer,
  trusted: Trusted,
): Promise<ListOnDisk | undefined> {
  const mark = await readMark(file, list, trusted)
  if (mark.number !== number || mark.file === undefined) return undefined
  const reader = await SnapshotReader.open(file, fingerprint, trusted).catch(() => undefined)
  if (!reader) return undefined
  try {
    let changes = 0
    let last: Batch | undefined
    for await (last of reader.batches(reader.sizeAtFirst)) changes++
    const isWhole = reader.readTo === reader.sizeAtFirst && changes >= mark.changes
    if (!last || !isWhole || reader.sum !== mark.file) return undefined
    const writer = await SnapshotWriter.goOn(file, reader)
    return writer && { writer, changes, last, takenAt: reader.meta.takenAt }
  } finally {
    await reader.close()
  }
}

// After a restart: the list that this server had received before, in the file in which it is kept. It is the
// published one when the mark beside it names that file by its checksum, and has as many changes as it has batches.
import type { Trusted } from '../../trusted-file'
import { SnapshotReader, SnapshotWriter } from './file'
import type { Batch } from './file-format'
import { readMark } from './received-mark'

export interface ListOnDisk {
  readonly writer: SnapshotWriter
  /** How many changes of the published list it has. */
  readonly changes: number
  readonly last: Batch
  readonly takenAt: number
}

/**
 * @param number of the published list
 * @returns undefined unless all of that list, up to a change, is known to be there
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

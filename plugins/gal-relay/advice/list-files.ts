// Where the lists in memory are stored: finds files that directories share and folders that cannot
// be written to.
import { accessSync, constants, existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import type { Finding } from '../gal/directory/finding'
import { SKEW } from '../gal/snapshot/follower'
import type { DirectorySettings } from '../settings/directories'
import type { SnapshotSettings } from '../settings/settings'
import { directoryNames } from './directories'

/** Findings about one subject. */
export interface Section {
  readonly about: string
  readonly findings: readonly Finding[]
}

/** Different paths may lead to the same file. */
export function sharedFiles(all: readonly DirectorySettings[]): Section[] {
  const users = new Map<string, DirectorySettings[]>()
  for (const one of all) {
    if (one.gal.mode === 'live') continue
    const file = realFile(one.snapshot.file)
    users.set(file, [...(users.get(file) ?? []), one])
  }
  return Array.from(users, ([file, own]): Section[] => {
    if (own.length < 2) return []
    const names = directoryNames(own.map(({ name }) => name))
    const text = `it is the file of ${names}; each list needs its own`
    return [{ about: `snapshot ${file}`, findings: [{ level: 'problem', text }] }]
  }).flat()
}

function realFile(file: string): string {
  try {
    return path.join(realpathSync(path.dirname(file)), path.basename(file))
  } catch {
    return file
  }
}

/**
 * @param age the time since a list was last known to be right, in milliseconds
 * @returns `why` completes a sentence, and is empty if all is well
 */
export function judgedByAge(
  age: number,
  { usable_for, changes_every }: SnapshotSettings,
  isReceived: boolean,
): { level: Finding['level']; why: string } {
  if (age < -SKEW) {
    return {
      level: 'problem',
      why: ': dated in the future, so it is not used; a clock is or was wrong',
    }
  }
  if (age > usable_for) return { level: 'problem', why: ': too old to be used (usable_for)' }
  if (age > 2 * changes_every) {
    const why = isReceived
      ? ': not confirmed since; is Haraka running here, and gal-relay publish there?'
      : ': the directory has not confirmed it since; is Haraka running?'
    return { level: 'warning', why }
  }
  return { level: 'ok', why: '' }
}

/** What prevents this process from writing to the folder. */
export function folderProblem(folder: string): Finding | undefined {
  if (!existsSync(folder)) return { level: 'problem', text: `there is no folder ${folder}` }
  try {
    accessSync(folder, constants.W_OK)
    return undefined
  } catch {
    return {
      level: 'warning',
      text: `we cannot write to its folder; can the user that Haraka runs as?`,
    }
  }
}

/**
 * The places that this process cannot write to; Haraka's own process must be able to write to all of them.
 * @param queue Haraka's queue folder
 */
export function unwritableHere(
  queue: string,
  all: readonly DirectorySettings[],
): { readonly queue: readonly string[]; readonly lists: readonly string[] } {
  const folders = all
    .filter(({ gal }) => gal.mode !== 'live')
    .map(({ snapshot }) => path.dirname(snapshot.file))
  return {
    queue: canWrite(queue)
      ? []
      : [`the outbound queue ${queue} cannot be written: no mail can leave`],
    lists: [...new Set(folders)]
      .filter((folder) => !canWrite(folder))
      .map(
        (folder) =>
          `the folder of the list ${folder} cannot be written: changes are not kept there`,
      ),
  }
}

function canWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

// Decides when to look at the files of lists: always a few in turn, and any that the system reports
// as changed. With few files, each has its turn soon enough without such reports. With hundreds,
// looking at all of them each time would cost too much, and not every file system reports what
// other machines write.
import { type FSWatcher, watch } from 'node:fs'
import path from 'node:path'
import { every, guard, unattended } from '../../guard'

/** Something that follows a file. */
export interface FileFollower {
  readonly file: string
  /** Reads what is new in the file. Not called again before it settles. */
  look(): Promise<void>
}

/** Often enough for a list or a change to be in force everywhere within a second. */
const LOOK_EVERY = 250
/** How many files are looked at each time, changed or not. */
const IN_TURN = 16

const followers = new Set<FileFollower>()
const watchers = new Map<string, FSWatcher>()
/** Files that the system has reported as changed. */
const changed = new Set<string>()
const inProgress = new Set<FileFollower>()
let turn: Iterator<FileFollower> = followers.values()
let timer: NodeJS.Timeout | undefined

export function followFile(follower: FileFollower): void {
  followers.add(follower)
  timer ??= every(LOOK_EVERY, 'looks at the files of lists', lookAtSome).unref()
  if (followers.size <= IN_TURN) return
  const unwatched = followers.size === IN_TURN + 1 ? followers : [follower]
  for (const { file } of unwatched) watchFolder(path.dirname(file))
}

export function leaveFile(follower: FileFollower): void {
  followers.delete(follower)
  if (followers.size > 0) return
  clearInterval(timer)
  timer = undefined
  changed.clear()
  for (const folder of [...watchers.keys()]) unwatchFolder(folder)
}

function lookAtSome(): void {
  const due = new Set<FileFollower>()
  for (let left = Math.min(IN_TURN, followers.size); left > 0; left--) {
    let { value } = turn.next()
    if (!value) {
      turn = followers.values()
      value = turn.next().value
    }
    if (value) due.add(value)
  }
  if (changed.size > 0) {
    for (const follower of followers) if (changed.has(follower.file)) due.add(follower)
    changed.clear()
  }
  for (const follower of due) look(follower)
}

function look(follower: FileFollower): void {
  if (inProgress.has(follower)) {
    changed.add(follower.file)
    return
  }
  inProgress.add(follower)
  const done = () => inProgress.delete(follower)
  unattended('look at the list', () => follower.look().finally(done), done)
}

function watchFolder(folder: string): void {
  if (watchers.has(folder)) return
  const folderChanged = (_event: string, name: string | null) => {
    if (name) changed.add(path.join(folder, name))
  }
  const end = () => unwatchFolder(folder)
  try {
    const watcher = watch(
      folder,
      { persistent: false },
      guard('change in the folder of lists', folderChanged),
    )
    watchers.set(folder, watcher)
    watcher.on('error', guard('watch on the folder of lists', end, end))
  } catch {
    // Without a watcher, each file still has its turn.
  }
}

function unwatchFolder(folder: string): void {
  watchers.get(folder)?.close()
  watchers.delete(folder)
}

// When the files of lists are looked at: a few of them in turn, always, and whichever the system tells of.
// With few files the turn comes round so soon that nobody has to tell; with hundreds it would cost too
// much, and not every file system tells of what other machines write.
import { type FSWatcher, watch } from 'node:fs'
import path from 'node:path'
import { every, guard, unattended } from '../../guard'

/** Who follows a file. */
export interface FileFollower {
  readonly file: string
  /** Sees what has become of it. Not called again before it settles. */
  look(): Promise<void>
}

/** A list or a change is in force everywhere within a second. */
const LOOK_EVERY = 250
/** How many are looked at each time, changed or not. */
const IN_TURN = 16

const followers = new Set<FileFollower>()
const watchers = new Map<string, FSWatcher>()
/** Files that have changed, as far as the system tells. */
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
    // Without it each has its turn.
  }
}

function unwatchFolder(folder: string): void {
  watchers.get(folder)?.close()
  watchers.delete(folder)
}

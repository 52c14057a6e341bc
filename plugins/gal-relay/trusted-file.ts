// Files that decide who gets mail and where a password goes, in folders that others may reach. A file is
// trusted only if nobody but root, ourselves and the users in `Trusted` can have created it or may write to it,
// to any folder above it, or to any link on the way. Nothing here blocks, as opening a named pipe would, or
// reads more than expected.
import { constants, type Stats, statSync } from 'node:fs'
import { type FileHandle, lstat, open, readlink } from 'node:fs/promises'
import path from 'node:path'

/** Users and groups, by id, whose files are trusted besides root's and our own. */
export interface Trusted {
  readonly users: readonly number[]
  readonly groups: readonly number[]
}

export const ROOT_AND_US: Trusted = { users: [], groups: [] }

/** A file is not trusted; the message says what is wrong, where, and what to do. */
export class UntrustedFile extends Error {
  override readonly name: string = 'UntrustedFile'
}

/** The same for all files in a folder, which must not be written to either. */
export class UntrustedFolder extends UntrustedFile {
  override readonly name = 'UntrustedFolder'
}

const LINKS_MOST = 40
/** Enough for passwords, keys, and all CA certificates of a system. */
const SMALL = 4 << 20

/**
 * A file that the settings name, for example a password file. It may be a symbolic link, as in Kubernetes, and
 * may be in a folder like /tmp, where others cannot remove it.
 * @throws UntrustedFile
 * @throws Error with a `code` such as ENOENT
 */
export async function readTrusted(file: string, trusted: Trusted): Promise<Buffer> {
  const { found } = await resolved(path.resolve(file), trusted)
  const handle = await openRegular(found, trusted, SMALL)
  try {
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

/**
 * A file that we have written: not a link, and in a folder where nobody else may write.
 * @param most bytes
 * @returns open for reading
 * @throws UntrustedFile
 * @throws Error with a `code` such as ENOENT
 */
export async function openOwn(file: string, trusted: Trusted, most: number): Promise<FileHandle> {
  await requireOwnFolder(path.dirname(file), trusted)
  return openRegular(file, trusted, most)
}

/**
 * @returns the folder, which only we and those we trust may write to
 * @throws UntrustedFolder
 * @throws Error with a `code` such as ENOENT
 */
export async function requireOwnFolder(folder: string, trusted: Trusted): Promise<Stats> {
  const { found, stats } = await resolved(path.resolve(folder), trusted)
  if (!stats.isDirectory()) throw new UntrustedFolder(`${found} is ${kindOf(stats)}, not a folder`)
  requireFolderOnTheWay(found, stats, trusted)
  if (!mayBeWritten(stats, trusted)) return stats
  throw new UntrustedFolder(
    `others may write to the folder ${found} (${described(stats)}): chmod go-w ${found}, or name a ` +
      'file in another folder',
  )
}

/** Whether root, we, or a user in `trusted` owns it. */
export function isTrustedOwner({ uid }: { readonly uid: number }, trusted: Trusted): boolean {
  return !POSIX || uid === 0 || uid === process.geteuid?.() || trusted.users.includes(uid)
}

/** On other systems Node knows no owner and mode of files. */
const POSIX = process.geteuid !== undefined

/** Follows links like the system, and checks each folder and link on the way. */
async function resolved(
  name: string,
  trusted: Trusted,
): Promise<{ readonly found: string; readonly stats: Stats }> {
  const { root } = path.parse(name)
  const parts = partsOf(name.slice(root.length))
  let found = root
  let stats = await lstat(root)
  for (let links = 0; parts.length > 0; ) {
    requireFolderOnTheWay(found, stats, trusted)
    const next = path.join(found, parts.shift() ?? '')
    stats = await lstat(next)
    if (!stats.isSymbolicLink()) {
      found = next
      continue
    }
    if (!isTrustedOwner(stats, trusted)) {
      throw new UntrustedFile(
        `the symbolic link ${next} belongs to user ${stats.uid}, who is neither root nor the user that ` +
          'Haraka runs as: name the file itself, or make the link anew',
      )
    }
    if (++links > LINKS_MOST) throw new UntrustedFile(`${name}: more than ${LINKS_MOST} links`)
    const target = await readlink(next)
    if (path.isAbsolute(target)) found = root
    parts.unshift(...partsOf(target))
    stats = await lstat(found)
  }
  return { found, stats }
}

const partsOf = (name: string) => name.split(path.sep).filter((part) => part !== '')

/** A user who may rename files in a folder can replace them by his own. */
function requireFolderOnTheWay(folder: string, stats: Stats, trusted: Trusted): void {
  // Group-writable folders are often intended (/usr/local); world-writable ones only with the sticky bit.
  const isOpen = POSIX && (stats.mode & 0o002) !== 0 && (stats.mode & 0o1000) === 0
  if (!isTrustedOwner(stats, trusted)) {
    throw new UntrustedFolder(
      `the folder ${folder} belongs to user ${stats.uid}, who is neither root nor the user that Haraka ` +
        `runs as (${described(stats)}): chown it, or name a file in another folder`,
    )
  }
  if (isOpen) {
    throw new UntrustedFolder(
      `everybody may write to the folder ${folder} (${described(stats)}): chmod o-w ${folder}, or name ` +
        'a file in another folder',
    )
  }
}

async function openRegular(file: string, trusted: Trusted, most: number): Promise<FileHandle> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((error) => {
    throw error.code === 'ELOOP'
      ? new UntrustedFile(`${file} is a symbolic link, not a file`)
      : error
  })
  try {
    const stats = await handle.stat()
    const why = faultOf(file, stats, trusted, most)
    if (why) throw new UntrustedFile(why)
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

function faultOf(file: string, stats: Stats, trusted: Trusted, most: number): string | undefined {
  if (!stats.isFile()) return `${file} is ${kindOf(stats)}, not a file`
  if (!isTrustedOwner(stats, trusted)) {
    return (
      `${file} belongs to user ${stats.uid}, who is neither root nor the user that Haraka runs as ` +
      `(${described(stats)}): find out who put it there, then chown it`
    )
  }
  if (mayBeWritten(stats, trusted)) {
    return `others may write to ${file} (${described(stats)}): check its contents, then chmod go-w ${file}`
  }
  if (stats.size > most) return `${file} has ${stats.size} bytes, more than ${most}`
  return undefined
}

/** Whether others than its owner and root may write to it, such as a group that is not ours. */
function mayBeWritten({ mode, gid }: Stats, { groups }: Trusted): boolean {
  if (!POSIX) return false
  const isOurGroup = gid === 0 || gid === process.getegid?.() || groups.includes(gid)
  return (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && !isOurGroup)
}

const described = ({ uid, gid, mode }: Stats) =>
  `owner ${uid}, group ${gid}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}`

function kindOf(stats: Stats): string {
  if (stats.isFIFO()) return 'a named pipe'
  if (stats.isDirectory()) return 'a folder'
  if (stats.isSocket()) return 'a socket'
  return stats.isFile() ? 'a file' : 'a device'
}

/** @returns undefined if there is no such file or folder, or we may not look at it */
export function statsOf(file: string): Stats | undefined {
  try {
    return statSync(file)
  } catch {
    return undefined
  }
}

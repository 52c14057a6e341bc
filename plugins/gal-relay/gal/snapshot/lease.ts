// Who keeps the list: one process of all that use the same file, on whatever machine. The sign is a
// symbolic link beside the file, whose holder touches it every second; one that nobody has touched for
// some seconds is taken over. No clock is compared with another, so that none can be wrong. Should two
// processes believe for a moment that they hold it, each writes a file of its own and the last one
// counts (file.ts).
import { randomUUID } from 'node:crypto'
import { type BigIntStats, readlinkSync, unlinkSync } from 'node:fs'
import { lstat, lutimes, readlink, rename, symlink } from 'node:fs/promises'
import path from 'node:path'
import { guard, later, unattended } from '../../guard'
import { isTrustedOwner, ROOT_AND_US, requireOwnFolder, type Trusted } from '../../trusted-file'

const TICK = 1000
/** Untouched for so long, the link's holder is taken for dead. */
const DEAD_AFTER = 5000

export interface LeaseOptions {
  /** The link. */
  readonly file: string
  /** Whose links are believed, besides root's and our own. */
  readonly trusted?: Trusted | undefined
  readonly onHeld: () => void
  readonly onLost: () => void
  /** The link cannot be made, or is held by somebody else's process; said once for each reason. */
  readonly onError: (error: Error) => void
}

export class Lease {
  /** What the link says when this one holds it. */
  readonly token = `${process.pid}-${randomUUID()}`
  readonly #options: LeaseOptions
  #isHeld = false
  #seen = ''
  #seenAt = 0
  /** Somebody keeps it fresh. */
  #isTouched = false
  #lastError = ''
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: LeaseOptions) {
    this.#options = options
  }

  start(): void {
    const again = () => this.#startLater()
    unattended('the lease of the list', () => this.#tick().finally(again), again)
  }

  #startLater(): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    const start = () => this.start()
    this.#timer = later(TICK, 'the next look at the lease', start, start).unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#giveUp()
  }

  /** At once: a process that ends does not wait, and Haraka tells its plugins only of a graceful end. */
  readonly #giveUp = guard('the end of the lease', () => {
    process.removeListener('exit', this.#giveUp)
    if (!this.#isHeld) return
    this.#isHeld = false
    try {
      if (readlinkSync(this.#options.file) === this.token) unlinkSync(this.#options.file)
    } catch {
      // it is nobody's, or another's
    }
  })

  async #tick(): Promise<void> {
    try {
      if (this.#isHeld) await this.#keep()
      else await this.#seek()
      this.#lastError = ''
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      if (error.message !== this.#lastError) this.#options.onError(error)
      this.#lastError = error.message
    }
  }

  async #keep(): Promise<void> {
    if (await this.#isMine()) {
      const now = new Date()
      // Root may have made it, who we were before Haraka changed to its user.
      await lutimes(this.#options.file, now, now).catch(() => this.#put())
    } else {
      this.#isHeld = false
      process.removeListener('exit', this.#giveUp)
      this.#options.onLost()
    }
  }

  async #seek(): Promise<void> {
    const { file, trusted = ROOT_AND_US } = this.#options
    await requireOwnFolder(path.dirname(file), trusted)
    if (await this.#isMine()) return this.#hold()
    const sign = await lstat(file, { bigint: true }).then(signOf, () => undefined)
    if (sign === undefined) {
      await symlink(this.token, file).catch(ignore('EEXIST'))
      if (await this.#isMine()) this.#hold()
      return
    }
    if (sign !== this.#seen) {
      this.#isTouched = this.#seen !== ''
      this.#seen = sign
      this.#seenAt = performance.now()
    } else if (performance.now() - this.#seenAt > DEAD_AFTER) {
      // Whoever else does the same: the last one has it, and each looks before it believes so.
      await this.#put()
      return
    }
    const stranger = this.#isTouched && (await strangerHolding(file, trusted))
    if (stranger) throw new Error(stranger)
  }

  async #put(): Promise<void> {
    const { file } = this.#options
    const mine = `${file}.${this.token}`
    await symlink(this.token, mine).catch(ignore('EEXIST'))
    await rename(mine, file)
  }

  #hold(): void {
    this.#isHeld = true
    process.once('exit', this.#giveUp)
    if (this.#closed) this.#giveUp()
    else this.#options.onHeld()
  }

  async #isMine(): Promise<boolean> {
    return (await readlink(this.#options.file).catch(() => '')) === this.token
  }
}

/**
 * For a process that works for the holder, who may stand still and not know that it lost the lease.
 * @returns whether it is another's now
 */
export async function isLost(file: string, token: string): Promise<boolean> {
  return (await readlink(file).catch(() => token)) !== token
}

/** The link of a list. */
export const lockOf = (file: string) => `${file}.lock`

/** @returns a sentence when the link belongs to somebody whose processes are not Haraka's */
export async function strangerHolding(
  file: string,
  trusted = ROOT_AND_US,
): Promise<string | undefined> {
  const link = await lstat(file).catch(() => undefined)
  if (!link || isTrustedOwner(link, trusted)) return undefined
  return (
    `a process of user ${link.uid}, who is neither root nor the user that Haraka runs as, holds ` +
    `${file}: end that process, or remove that link`
  )
}

const signOf = ({ ino, mtimeNs }: BigIntStats) => `${ino} ${mtimeNs}`

const ignore = (code: string) => (error: NodeJS.ErrnoException) => {
  if (error.code !== code) throw error
}

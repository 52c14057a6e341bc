// The password of the account that searches. Most companies lock an account after a few wrong
// passwords, for everybody who uses it. So a password refused three times, in any process of this
// server, is tried only every five minutes, with whichever directory server is next. A new password
// is tried at once.
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { DirectoryError, resultError } from './directory-error'
import type { LdapOptions } from './options'
import { readNamed } from './tls'

const REFUSALS = 3
const RETRY_AFTER = 5 * 60_000

/** Result codes of a bind: invalidCredentials, and constraintViolation if the account is locked. */
const REFUSED: ReadonlySet<number> = new Set([49, 19])

interface Refused {
  readonly times: number
  /** On the clock of performance.now(). */
  readonly retryAt: number
  readonly message: string
}

/** A refusal in one process, reported to the others, whose attempts count for the lockout too. */
export interface PasswordRefusal {
  /** The key of the {@link Credentials}. */
  readonly key: string
  readonly message: string
}

/** Refused passwords by directory, account and password, for all connections of this process. */
const refused = new LRUCache<string, Refused>({ max: 1000 })

type TellRefusal = (refusal: PasswordRefusal) => void
const others = new Set<TellRefusal>()

/** @param tell tells another process of this server, which calls {@link countPasswordRefusal} */
export function sharePasswordRefusals(tell: TellRefusal): void {
  others.add(tell)
}

/**
 * Counts a refusal of a password, here or in another process.
 * @param from the process that reported it, which is not told again
 * @returns how often the password has been refused
 */
export function countPasswordRefusal(refusal: PasswordRefusal, from?: TellRefusal): number {
  const { key, message } = refusal
  const times = (refused.get(key)?.times ?? 0) + 1
  refused.set(key, { times, retryAt: performance.now() + RETRY_AFTER, message })
  for (const tell of others) if (tell !== from) tell(refusal)
  return times
}

/** All refusals, each as often as it was counted, for a process that starts. */
export function knownRefusals(): PasswordRefusal[] {
  return [...refused].flatMap(([key, { times, message }]) => Array(times).fill({ key, message }))
}

/** What to bind with. */
export interface Credentials {
  /** '' for an anonymous bind. */
  readonly password: string
  /** Stays the same while the servers, the account and the password, or its file's content, do. */
  readonly key: string
}

/**
 * @returns what to bind with now
 * @throws DirectoryError if there is no password, or it must not be tried again yet
 */
export async function credentialsToTry(ldap: LdapOptions): Promise<Credentials> {
  if (!ldap.bind_dn || ldap.bind_method === 'external') return ANONYMOUS
  const file = await readNamed('bind_password_file', ldap.bind_password_file, ldap.trusted)
  const password = file ? firstLine(file) : ldap.bind_password
  // Servers treat a name without a password as an anonymous bind, with success (RFC 4513 §5.1.2).
  if (!password) throw new DirectoryError('connection', 'bind_dn is set, but the password is empty')
  const key = keyOf(ldap, file ?? password)
  const known = refused.get(key)
  if (!known || known.times < REFUSALS) return { password, key }
  const now = performance.now()
  if (now < known.retryAt) throw new DirectoryError('waiting', known.message)
  // Other connections wait for the outcome of this attempt.
  refused.set(key, { ...known, retryAt: now + RETRY_AFTER })
  return { password, key }
}

/**
 * Records the server's answer to a bind with these credentials.
 * @throws DirectoryError if the bind failed
 */
export function bound(
  ldap: LdapOptions,
  { password, key }: Credentials,
  code: number,
  words: string,
): void {
  if (code === 0) {
    refused.delete(key)
    return
  }
  const error = resultError(code, password ? words.replaceAll(password, '***') : words)
  if (!password || !REFUSED.has(code)) throw error
  const waits =
    `; to avoid locking ${ldap.bind_dn}, the password is tried again only every five minutes ` +
    'or at once when it has changed'
  const refusal = { key, message: `${error.message}${waits}` }
  const isLast = countPasswordRefusal(refusal) >= REFUSALS
  throw new DirectoryError('credentials', isLast ? refusal.message : error.message, code)
}

const ANONYMOUS: Credentials = { password: '', key: '' }

function keyOf({ url, bind_dn }: LdapOptions, secret: string | Buffer): string {
  const account = JSON.stringify([url.map(({ text }) => text), bind_dn])
  return createHash('sha256').update(account).update(secret).digest('base64')
}

/** Reads what editors on any system write: UTF-8, with or without a byte order mark, or UTF-16. */
function firstLine(file: Buffer): string {
  const encoding =
    file[0] === 0xfe && file[1] === 0xff
      ? 'utf-16be'
      : file[0] === 0xff && file[1] === 0xfe
        ? 'utf-16le'
        : 'utf-8'
  return new TextDecoder(encoding).decode(file).split(/\r?\n|\r/, 1)[0] ?? ''
}

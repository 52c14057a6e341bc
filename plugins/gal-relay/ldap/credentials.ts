// The password of the account that searches. Most companies lock an account after a few wrong
// passwords, for everybody who uses it: after three refusals, in whichever process of this server, one is
// tried only every five minutes, by whichever server of the directory is next, or as soon as it is another one.
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { DirectoryError, resultError } from './directory-error'
import type { LdapOptions } from './options'
import { readNamed } from './tls'

const REFUSALS = 3
const RETRY_AFTER = 5 * 60_000

/** Result codes of a bind: invalidCredentials; constraintViolation, when the account is locked. */
const REFUSED: ReadonlySet<number> = new Set([49, 19])

interface Refused {
  readonly times: number
  /** On the clock of performance.now(). */
  readonly retryAt: number
  readonly message: string
}

/** A refusal in one process of a server, for the others: their attempts lock the account as well. */
export interface Refusal {
  /** Of {@link Credentials}. */
  readonly key: string
  readonly message: string
}

/** By directory, account and password, for all connections of this process. */
const refused = new LRUCache<string, Refused>({ max: 1000 })

type TellRefusal = (refusal: Refusal) => void
const others = new Set<TellRefusal>()

/** @param tell another process of this server, which calls {@link countRefusal} */
export function shareRefusals(tell: TellRefusal): void {
  others.add(tell)
}

/**
 * Of a password that was refused, here or in another process.
 * @param from the process that it is known from, which is not told
 * @returns how often it has been refused
 */
export function countRefusal(refusal: Refusal, from?: TellRefusal): number {
  const { key, message } = refusal
  const times = (refused.get(key)?.times ?? 0) + 1
  refused.set(key, { times, retryAt: performance.now() + RETRY_AFTER, message })
  for (const tell of others) if (tell !== from) tell(refusal)
  return times
}

/** Each as often as it was counted, for a process that starts. */
export function knownRefusals(): Refusal[] {
  return [...refused].flatMap(([key, { times, message }]) => Array(times).fill({ key, message }))
}

/** What to bind with. */
export interface Credentials {
  /** '' for an anonymous bind. */
  readonly password: string
  /** The same for as long as the account, where its password is from, and all that is there stay the same. */
  readonly key: string
}

/**
 * @returns what to bind with now
 * @throws DirectoryError when there is none, or it must not be tried again yet
 */
export async function credentialsToTry(ldap: LdapOptions): Promise<Credentials> {
  if (!ldap.bind_dn || ldap.bind_method === 'external') return ANONYMOUS
  const file = await readNamed('bind_password_file', ldap.bind_password_file, ldap.trusted)
  const password = file ? firstLine(file) : ldap.bind_password
  // Servers take a name without password for an anonymous bind and say success (RFC 4513 §5.1.2).
  if (!password) throw new DirectoryError('connection', 'bind_dn is set, but the password is empty')
  const key = keyOf(ldap, file ?? password)
  const known = refused.get(key)
  if (!known || known.times < REFUSALS) return { password, key }
  const now = performance.now()
  if (now < known.retryAt) throw new DirectoryError('waiting', known.message)
  // Others wait for what becomes of this attempt.
  refused.set(key, { ...known, retryAt: now + RETRY_AFTER })
  return { password, key }
}

/**
 * What the server said to a bind with these.
 * @throws DirectoryError when it was not success
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
  const isLast = countRefusal(refusal) >= REFUSALS
  throw new DirectoryError('credentials', isLast ? refusal.message : error.message, code)
}

const ANONYMOUS: Credentials = { password: '', key: '' }

function keyOf({ url, bind_dn }: LdapOptions, secret: string | Buffer): string {
  const account = JSON.stringify([url.map(({ text }) => text), bind_dn])
  return createHash('sha256').update(account).update(secret).digest('base64')
}

/** As editors write it on any system: with a byte order mark or without, in UTF-8 or UTF-16. */
function firstLine(file: Buffer): string {
  const encoding =
    file[0] === 0xfe && file[1] === 0xff
      ? 'utf-16be'
      : file[0] === 0xff && file[1] === 0xfe
        ? 'utf-16le'
        : 'utf-8'
  return new TextDecoder(encoding).decode(file).split(/\r?\n|\r/, 1)[0] ?? ''
}

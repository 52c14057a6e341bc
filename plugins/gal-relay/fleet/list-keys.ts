// The secret that proves that a list is ours: `[snapshot] key_file`, the same file on each side.
// Each line is a secret. Lists are signed with the first one, and accepted if any of them fits. A
// secret can thus be changed on one side after the other.
import { hkdfSync } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { readTrusted, type Trusted } from '../trusted-file'

/** The keys that a piece is signed and encrypted with. */
export interface ListKey {
  readonly mac: Buffer
  readonly cipher: Buffer
}

/** The first key signs. */
export type ListKeys = readonly [ListKey, ...ListKey[]]

const SHORTEST = 32
const KEY_BYTES = 32
/** Change it whenever the format of pieces changes (signed-piece.ts). */
const PURPOSE = 'gal-relay: pieces of a list, 1'
const MAKE_ONE = 'make one with: openssl rand -hex 32'

/**
 * @throws UntrustedFile, or an Error that says what is wrong with the file
 */
export async function readListKeys(file: string, trusted: Trusted): Promise<ListKeys> {
  const content = await readTrusted(file, trusted)
  const { mode } = await stat(file)
  if (process.geteuid && (mode & 0o007) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0')
    throw new Error(`every user may read ${file} (mode ${octal}): chmod o-rwx ${file}`)
  }
  const lines = content.toString('latin1').split(/\r?\n/)
  const keys = lines.flatMap((line, index) => {
    if (line === '') return []
    if (line.length >= SHORTEST) return keyFrom(line)
    const which = `line ${index + 1} of ${file} has ${line.length} characters`
    throw new Error(`${which}, and a secret at least ${SHORTEST}: ${MAKE_ONE}`)
  })
  const [first, ...rest] = keys
  if (!first) throw new Error(`${file} is empty: ${MAKE_ONE}`)
  return [first, ...rest]
}

function keyFrom(secret: string): ListKey {
  const bytes = Buffer.from(hkdfSync('sha256', Buffer.from(secret, 'latin1'), '', PURPOSE, 64))
  return { mac: bytes.subarray(0, KEY_BYTES), cipher: bytes.subarray(KEY_BYTES) }
}

// The secret by which a list is known to be ours: `[snapshot] key_file`, the same on each side. Each of its
// lines is a secret: lists are signed with the first, and taken when any of them fits, so that a secret can
// be changed on one side after the other.
import { hkdfSync } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { readTrusted, type Trusted } from '../trusted-file'

/** What a piece is signed and encrypted with. */
export interface ListKey {
  readonly mac: Buffer
  readonly cipher: Buffer
}

/** The first is the one to sign with. */
export type ListKeys = readonly [ListKey, ...ListKey[]]

const SHORTEST = 32
const KEY_BYTES = 32
/** To be changed with the form of pieces (signed-piece.ts). */
const PURPOSE = 'gal-relay: pieces of a list, 1'
const MAKE_ONE = 'make one with: openssl rand -hex 32'

/**
 * @throws UntrustedFile, or Error that says what is wrong with the file
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

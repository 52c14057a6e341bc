// Mail loops. Each message we accept gets our stamp in our Received line, and a message with more than a few
// of these stamps is refused. The stamp is the same for all messages, so it reveals nothing about senders or
// recipients. Anybody who got mail through this server can copy it, but only to have his own mail refused.
import { createHmac, randomBytes } from 'node:crypto'

/**
 * The environment variable that holds the secret for the stamp. Workers inherit it from their master, so all
 * of them use the same stamp.
 */
const SECRET = 'GAL_RELAY_LOOP_SECRET'

/**
 * How often a message may come in, including the first time. A content filter that returns messages doubles
 * the count; a list, a forward and another list make four. Two servers that send to each other stop after
 * 16 transfers.
 */
export const MAX_PASSES = 8

/**
 * @param env gets a secret if it has none
 * @returns 22 characters that a comment in a header line may contain
 */
export function loopStamp(env: NodeJS.ProcessEnv = process.env): string {
  env[SECRET] ||= randomBytes(32).toString('base64')
  const hmac = createHmac('sha256', env[SECRET]).update('gal-relay Received')
  return hmac.digest('base64url').slice(0, 22)
}

/**
 * @param line the value of Haraka's Received line
 * @returns the line with the stamp in a comment before its date
 */
export function stamped(line: string, stamp: string): string {
  const date = line.lastIndexOf(';')
  if (date < 0) return line
  return `${line.slice(0, date)}\r\n\t(gal-relay ${stamp})${line.slice(date)}`
}

/**
 * @param received the values of a message's Received lines
 * @returns the number of lines with the stamp
 */
export function passes(received: readonly string[], stamp: string): number {
  return received.filter((line) => line.includes(stamp)).length
}

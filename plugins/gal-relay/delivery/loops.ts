// Mail that goes in circles. Every message that we take has our stamp in our Received line, and one that
// carries more than a few of them is refused. The stamp is the same for all messages, so that it tells
// nothing of sender or recipients. Only who got mail through this server knows it, and by copying it he
// can do no more than have a message of his own refused.
import { createHmac, randomBytes } from 'node:crypto'

/**
 * The environment variable with the secret that the stamp is made from. Workers inherit their master's, and
 * so know each other's stamp.
 */
const SECRET = 'GAL_RELAY_LOOP_SECRET'

/**
 * How many times a message may come in, the first one included. A content filter that gives messages back
 * makes two of each time, and a list, a forwarding and another list are four times. Two servers that send
 * to each other end after 16 transfers.
 */
export const MAX_PASSES = 8

/**
 * @param env given a secret when it has none
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
 * @returns how many of them have the stamp
 */
export function passes(received: readonly string[], stamp: string): number {
  return received.filter((line) => line.includes(stamp)).length
}

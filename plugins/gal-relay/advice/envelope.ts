// What Haraka makes of an address in MAIL FROM or RCPT TO, using Haraka's own parsers, and what it
// replies if it cannot parse it.
import { Address } from '@haraka/email-address'
import { rfc1869, sanitize } from 'haraka-utils'
import { readIniFile } from '../settings/haraka-files'

/** `[main]` in `connection.ini`; both are off unless set there. */
export interface EnvelopeGrammar {
  readonly postel?: boolean
  readonly strict_rfc1869?: boolean
}

/** @param config like the plugin's own */
export function grammarOf(config: Haraka.Config): EnvelopeGrammar {
  const booleans = ['-main.postel', '-main.strict_rfc1869']
  const { main } = readIniFile(config, 'connection.ini', booleans)
  return { postel: main?.postel === true, strict_rfc1869: main?.strict_rfc1869 === true }
}

/**
 * @param text what follows `MAIL FROM:` or `RCPT TO:`; angle brackets are optional
 * @returns the address, or the whole reply, its lines separated by `\n`
 */
export function parsePath(
  command: 'mail' | 'rcpt',
  text: string,
  grammar: EnvelopeGrammar,
): Address | { readonly reply: string } {
  const [keyword, name] = command === 'mail' ? ['FROM', 'MAIL FROM'] : ['TO', 'RCPT TO']
  const path = text.startsWith('<') ? text : `<${text}>`
  let raw = ''
  try {
    raw =
      rfc1869.parse(command, `${keyword}:${path}`, grammar.strict_rfc1869 ?? false).shift() ?? ''
  } catch (error) {
    return { reply: `501-Command parsing failed\n501 ${error}` }
  }
  try {
    return new Address(raw, { postel: grammar.postel ?? false })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { reply: `501 Invalid ${name} address ${sanitize(raw)}: ${reason}` }
  }
}

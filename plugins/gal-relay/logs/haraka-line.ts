// One line of Haraka's log in any of its formats, and what syslog or a container puts before it.
import { type Fields, fieldsOf } from './fields'

export interface Entry {
  /** Of the connection, and behind a point the number of the transaction. */
  readonly uuid: string
  /** `core`, or the name of a plugin. */
  readonly origin: string
  readonly message: string
  readonly fields: Fields
}

const LEVELS = '(?:DATA|PROTOCOL|DEBUG|INFO|NOTICE|WARN|ERROR|CRIT|ALERT|EMERG)'
/** What comes first: anything behind it may be in a stranger's words. */
const START = new RegExp(`\\{"level":"|\\blevel=${LEVELS} uuid=|\\[${LEVELS}\\] \\[`)
const PLAIN = /\[[A-Z]+\] \[([-.0-9A-F]+)\] \[(core|gal-relay)\] /y
const LOGFMT = /level=[A-Z]+ uuid=([-.0-9A-F]+) origin=(core|gal-relay) /y
const OF_INTEREST = /core|gal-relay/
/** A path may hold anything in quotes. */
const ON_PATH = /^(?:recipient|sender) <(?:"(?:[^"\\]|\\.)*"|[^">])*>/
const ON_RECIPIENT = /^(?:accepted|refused|deferred|observed(?: DIFFERS)?)(?= ip=)/
const ON_CONNECTION = /^(?:connect|disconnect|HAProxy)(?= )/
const NOTHING: Fields = Object.freeze({})

/** @returns undefined for lines of others, and of other origins than Haraka's core and this plugin */
export function entryOf(line: string): Entry | undefined {
  const found = OF_INTEREST.test(line) ? START.exec(line) : null
  if (!found) return undefined
  const [start] = found
  if (start.startsWith('{')) return jsonEntry(line.slice(found.index))
  return start.startsWith('[') ? plainEntry(line, found.index) : logfmtEntry(line, found.index)
}

function plainEntry(line: string, from: number): Entry | undefined {
  PLAIN.lastIndex = from
  const found = PLAIN.exec(line)
  if (!found) return undefined
  const [start, uuid = '', origin = ''] = found
  const text = line.slice(from + start.length)
  const [message] =
    origin === 'core'
      ? text.startsWith(' ')
        ? ['']
        : (ON_PATH.exec(text) ?? ON_CONNECTION.exec(text) ?? [text])
      : (ON_RECIPIENT.exec(text) ?? [text])
  const fields = message === text ? NOTHING : fieldsOf(text, message.length)
  return { uuid, origin, message, fields }
}

function logfmtEntry(line: string, from: number): Entry | undefined {
  LOGFMT.lastIndex = from
  const found = LOGFMT.exec(line)
  if (!found) return undefined
  const [start, uuid = '', origin = ''] = found
  const fields = fieldsOf(line, from + start.length)
  return { uuid, origin, message: fields.message ?? '', fields }
}

const JSON_OF_INTEREST = /^\{"level":"[A-Z]+","uuid":"[-.0-9A-F]+","origin":"(?:core|gal-relay)"/

function jsonEntry(text: string): Entry | undefined {
  if (!JSON_OF_INTEREST.test(text)) return undefined
  try {
    const all = JSON.parse(text) as Readonly<Record<string, unknown>>
    const fields = Object.entries(all).map(([name, value]) => [name, String(value ?? '')])
    const { uuid = '', origin = '', message = '', ...more } = Object.fromEntries(fields)
    return { uuid, origin, message, fields: more }
  } catch {
    return undefined
  }
}

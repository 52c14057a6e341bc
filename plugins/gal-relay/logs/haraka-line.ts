// One line of Haraka's log in any of its formats, with the prefix that syslog or a container adds.
import { type Fields, fieldsOf } from './fields'

export interface LogLine {
  /** The connection's id; the numbers of its transaction and of a message part follow after points. */
  readonly uuid: string
  /** `core`, or the name of a plugin. */
  readonly origin: string
  /** The message and the values of its fields, unescaped. */
  readonly text: string
}

/** A line from Haraka's core or from this plugin. */
export interface Entry extends Omit<LogLine, 'text'> {
  readonly message: string
  readonly fields: Fields
}

const LEVELS = '(?:DATA|PROTOCOL|DEBUG|INFO|NOTICE|WARN|ERROR|CRIT|ALERT|EMERG)'
/** Only the first match counts: text after it may have been chosen by a stranger. */
const START = new RegExp(`\\{"level":"|\\blevel=${LEVELS} uuid=|\\[${LEVELS}\\] \\[`)
const PLAIN = /\[[A-Z]+\] \[([^\]]+)\] \[([^\]]+)\] /y
const LOGFMT = /level=[A-Z]+ uuid=(\S+) origin=(\S+) /y

/** Where the line and its message begin; in JSON, `uuid` and `origin` are read with the rest. */
interface Head {
  readonly format: 'plain' | 'logfmt' | 'json'
  readonly from: number
  readonly uuid: string
  readonly origin: string
}

function headOf(line: string): Head | undefined {
  const start = START.exec(line)
  if (!start) return undefined
  const { index, 0: text } = start
  if (text.startsWith('{')) return { format: 'json', from: index, uuid: '', origin: '' }
  const format = text.startsWith('[') ? 'plain' : 'logfmt'
  const pattern = format === 'plain' ? PLAIN : LOGFMT
  pattern.lastIndex = index
  const [head = '', uuid = '', origin = ''] = pattern.exec(line) ?? []
  return head ? { format, from: index + head.length, uuid, origin } : undefined
}

/** @returns `undefined` if the text is not a line of Haraka's logger */
export function logLineOf(line: string): LogLine | undefined {
  const head = headOf(line)
  if (!head) return undefined
  const { format, from, uuid, origin } = head
  const text = line.slice(from)
  return format === 'json' ? jsonLine(text) : { uuid, origin, text: unescaped(text) }
}

function jsonLine(text: string): LogLine | undefined {
  try {
    const { uuid, origin, level, ...rest } = JSON.parse(text) as Record<string, unknown>
    if (typeof uuid !== 'string' || typeof origin !== 'string') return undefined
    return { uuid, origin, text: Object.values(rest).map(String).join(' ') }
  } catch {
    return undefined
  }
}

/** Haraka writes `\"` and `\\` in quoted values. */
const unescaped = (text: string) => (text.includes('\\') ? text.replace(/\\(.)/g, '$1') : text)

const OF_INTEREST = /core|gal-relay/
const UUID = /^[-.0-9A-F]+$/
/** A quoted path may contain anything. */
const ON_PATH = /^(?:recipient|sender) <(?:"(?:[^"\\]|\\.)*"|[^">])*>/
const ON_RECIPIENT = /^(?:accepted|refused|deferred|observed(?: DIFFERS)?)(?= ip=)/
const ON_CONNECTION = /^(?:connect|disconnect|HAProxy)(?= )/
const NOTHING: Fields = Object.freeze({})

/** @returns `undefined` unless the line comes from Haraka's core or from this plugin */
export function entryOf(line: string): Entry | undefined {
  const head = OF_INTEREST.test(line) ? headOf(line) : undefined
  if (!head) return undefined
  const { format, from, uuid, origin } = head
  if (format === 'json') return jsonEntry(line.slice(from))
  if ((origin !== 'core' && origin !== 'gal-relay') || !UUID.test(uuid)) return undefined
  if (format === 'plain') return plainEntry(uuid, origin, line.slice(from))
  const fields = fieldsOf(line, from)
  return { uuid, origin, message: fields.message ?? '', fields }
}

function plainEntry(uuid: string, origin: string, text: string): Entry {
  const [message] =
    origin === 'core'
      ? text.startsWith(' ')
        ? ['']
        : (ON_PATH.exec(text) ?? ON_CONNECTION.exec(text) ?? [text])
      : (ON_RECIPIENT.exec(text) ?? [text])
  const fields = message === text ? NOTHING : fieldsOf(text, message.length)
  return { uuid, origin, message, fields }
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

// Writes all our lines in Haraka's log, so that text from strangers (next hops, directories, DNS, clients) is
// always escaped.
import { shortened, visible } from '../visible'
import { loggable } from './internals'

type Level = 'debug' | 'info' | 'notice' | 'warn' | 'error'

/** The objects that can log; each adds to the line what it is about. */
type Source = Haraka.Plugin | Haraka.Connection | Haraka.QueueItem

/** Maximum length of a line, in characters. */
const LINE_MOST = 4096

/** @param parts texts, errors, and objects whose values are texts */
export function log(
  source: Source,
  level: Level,
  plugin: Haraka.Plugin,
  ...parts: readonly unknown[]
): void {
  source[`log${level}`](plugin, ...parts.map((part) => shown(plugin, part)))
}

/** For modules that do not know Haraka. @param before the beginning of each line */
export function logOf(
  plugin: Haraka.Plugin,
  before: () => string = () => '',
): Readonly<Record<Level, (text: string) => void>> {
  const writer = (level: Level) => (text: string) => log(plugin, level, plugin, before() + text)
  return {
    debug: writer('debug'),
    info: writer('info'),
    notice: writer('notice'),
    warn: writer('warn'),
    error: writer('error'),
  }
}

/** The text as one line of limited length. */
export function oneLine(text: string): string {
  return visible(shortened(text, LINE_MOST))
}

function shown(plugin: Haraka.Plugin, part: unknown): unknown {
  if (part instanceof Error) return loggable(plugin, shownError(part))
  if (typeof part !== 'object' || part === null) return oneLine(String(part))
  // Nearly all are: copying the object for each line would cost more than this check.
  if (isShown(part as Readonly<Record<string, unknown>>)) return part
  const fields = Object.entries(part)
  return Object.fromEntries(fields.map(([key, value]) => [key, oneLine(String(value))]))
}

function isShown(fields: Readonly<Record<string, unknown>>): boolean {
  for (const key in fields) {
    const value = fields[key]
    if (typeof value !== 'string' || oneLine(value) !== value) return false
  }
  return true
}

/** Haraka writes the stack of an error unchanged, with its line breaks. */
function shownError(error: Error): Error {
  const { name, message, stack = '' } = error
  const at = stack.indexOf(message)
  const frames = at < 0 ? '' : stack.slice(at + message.length)
  const one = new Error(oneLine(message))
  one.stack = [`${name}: ${one.message}`, ...frames.split('\n').slice(1).map(visible)].join('\n')
  return one
}

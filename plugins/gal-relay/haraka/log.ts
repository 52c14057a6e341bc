// Every line of ours in Haraka's log is written here, so that what strangers sent is in it as text:
// next hops, directories, DNS, clients.
import { shortened, visible } from '../visible'
import { loggable } from './internals'

type Level = 'debug' | 'info' | 'notice' | 'warn' | 'error'

/** What may write: each adds to the line what it is about. */
type Source = Haraka.Plugin | Haraka.Connection | Haraka.QueueItem

/** Characters of one line, however much there was to say. */
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

/** For those who know nothing of Haraka. @param before what each line begins with */
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

/** A text in one line that has an end. */
export function oneLine(text: string): string {
  return visible(shortened(text, LINE_MOST))
}

function shown(plugin: Haraka.Plugin, part: unknown): unknown {
  if (part instanceof Error) return loggable(plugin, shownError(part))
  if (typeof part !== 'object' || part === null) return oneLine(String(part))
  // Nearly all are: a new object for each line of the log would cost more than the look.
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

/** Haraka writes the stack of an error as it is, a line for each of its own. */
function shownError(error: Error): Error {
  const { name, message, stack = '' } = error
  const at = stack.indexOf(message)
  const frames = at < 0 ? '' : stack.slice(at + message.length)
  const one = new Error(oneLine(message))
  one.stack = [`${name}: ${one.message}`, ...frames.split('\n').slice(1).map(visible)].join('\n')
  return one
}

// One line of Haraka's log, in whichever of its formats: whose it is, and what it says in words that are
// the same in all of them.

export interface LogLine {
  /** Of a connection; behind points the numbers of its transaction and of a part of the message. */
  readonly uuid: string
  readonly origin: string
  /** The message and the values of its fields, unescaped. */
  readonly text: string
}

const LEVELS = '(?:DATA|PROTOCOL|DEBUG|INFO|NOTICE|WARN|ERROR|CRIT|ALERT|EMERG)'
/** Syslog, a container or Haraka itself may put something before it; behind it are a stranger's words. */
const START = new RegExp(
  `\\{"level":"|\\blevel=${LEVELS} uuid=(\\S+) origin=(\\S+) |\\[${LEVELS}\\] \\[([^\\]]+)\\] \\[([^\\]]+)\\] `,
)

/** @returns undefined for text that is not a line of Haraka's logger */
export function parseLogLine(line: string): LogLine | undefined {
  const found = START.exec(line)
  if (!found) return undefined
  const [start, uuid = found[3], origin = found[4]] = found
  if (start.startsWith('{')) return jsonLine(line.slice(found.index))
  if (!uuid || !origin) return undefined
  return { uuid, origin, text: unescaped(line.slice(found.index + start.length)) }
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

/** Haraka has `\"` and `\\` in the values that it puts in quotes. */
const unescaped = (text: string) => (text.includes('\\') ? text.replace(/\\(.)/g, '$1') : text)

// The kinds of log that can be read, and how one is known by its content.
import type { OpenLog } from './event'
import { openExchangeLog } from './exchange'
import { openHarakaLog } from './haraka'
import { openPostfixLog } from './postfix'

export interface LogKind {
  readonly name: 'haraka' | 'postfix' | 'exchange'
  /** Its usual name. */
  readonly title: string
  /** Said of it: it has no line on every recipient, for instance; '' for nothing. */
  readonly leavesOut: string
  readonly is: (line: string) => boolean
  readonly open: OpenLog
}

export const LOG_KINDS: readonly LogKind[] = [
  {
    name: 'exchange',
    title: "Exchange's message tracking",
    leavesOut: 'accounts and listeners are not in it, nor recipients refused at RCPT',
    is: (line) => /^\ufeff?#Fields:.*\bevent-id\b/i.test(line),
    open: openExchangeLog,
  },
  {
    name: 'haraka',
    title: "Haraka's log",
    leavesOut: '',
    is: (line) => HARAKA.test(line),
    open: openHarakaLog,
  },
  {
    name: 'postfix',
    title: "Postfix's maillog",
    leavesOut: 'recipients count as accepted when the message was first tried to be delivered',
    is: (line) => /\bpostfix[\w.-]*\/[\w/-]+\[\d+\]: /.test(line),
    open: openPostfixLog,
  },
]

const HARAKA =
  /\[[A-Z]+\] \[[-.0-9A-F]+\] \[|\blevel=[A-Z]+ uuid=\S+ origin=|\{"level":"[A-Z]+","uuid":/

/** @returns the first kind that the line can only be of; undefined when it may be of any */
export function logKindOf(line: string): LogKind | undefined {
  return LOG_KINDS.find(({ is }) => is(line))
}

// The kinds of log that can be read, and how to recognize each by its content.
import type { OpenLog } from './event'
import { openExchangeLog } from './exchange'
import { openHarakaLog } from './haraka'
import { openPostfixLog } from './postfix'

export interface LogKind {
  readonly name: 'haraka' | 'postfix' | 'exchange'
  /** The name for people. */
  readonly title: string
  /** What to tell people is missing from it, such as a line for every recipient; '' if nothing. */
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

/** @returns the kind of log that the line proves; `undefined` if it proves none */
export function logKindOf(line: string): LogKind | undefined {
  return LOG_KINDS.find(({ is }) => is(line))
}

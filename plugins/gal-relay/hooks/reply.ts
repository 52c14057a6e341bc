// The reply, and how it is reported: counts, results, and for a refusal a log line and an entry on the status
// page. No failure in a hook may reach Haraka, where an exception after an await ends the server: the reply is
// then 451, and the stack is logged.
import type DSN from 'haraka-dsn'
import type { AcceptedRecipient } from '../delivery/delivery'
import { unattended } from '../guard'
import { addResult, addressOf, replyOf, writes } from '../haraka/internals'
import { log } from '../haraka/log'
import { outcomeOf } from '../report/counts'
import { acceptanceOf, lineOf, replyText, type Sender, textAfterCode } from '../report/refusal'
import {
  INTERNAL_ERROR,
  type Refused,
  type Reply,
  type Rule,
  type Verdict,
} from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { state } from './start'

// ── What surrounds every hook ────────────────────────────────────────────────────────────────────

type Hook<P, R = undefined> = (
  this: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  params: P,
) => R

/** Catches whatever the hook throws or rejects with: the reply is then 451, and the stack is logged. */
export function guarded<P = undefined>(hook: Hook<P, undefined | Promise<undefined>>): Hook<P> {
  return function (next, connection, params) {
    try {
      const ending = hook.call(this, next, connection, params)
      if (ending) watch(ending, this, next, connection)
    } catch (error) {
      fail(this, next, connection, error)
    }
  }
}

function watch(
  ending: Promise<undefined>,
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
): void {
  const caught = ending.catch((error) => fail(plugin, next, connection, error))
  unattended('answer after a failure', () => caught)
}

// If the hook answered before it failed, that answer counts: Haraka ignores a second one.
function fail(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  error: unknown,
): void {
  logFailure(plugin, connection, error)
  next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
}

export function logFailure(
  plugin: Haraka.Plugin,
  source: Haraka.Connection | Haraka.QueueItem,
  error: unknown,
): void {
  state.counts.failed()
  log(source, 'error', plugin, 'failed:', error instanceof Error ? error : String(error))
}

// ── The reply ────────────────────────────────────────────────────────────────────────────────────

// A plugin such as delay_deny turns a refusal into OK, and Haraka then continues as if nobody had answered:
// a deferred recipient gets 550, and a client that may relay gets 250 for any recipient.
export const keep_refusal = guarded<readonly [unknown, unknown, string]>(function (
  next,
  _connection,
  [, , refusedBy],
) {
  return refusedBy === this.name ? next(STOP) : next()
})

/** For DENY or DENYSOFT. A text costs Haraka less than a DSN object. */
export function replyToRecipient(reply: Reply): DSN | string {
  return reply.code === DENIED ? textAfterCode(reply) : dsnOf(reply)
}

/** The code that Haraka uses for a recipient at DENY by default. */
const DENIED = 550

export function dsnOf({ code, text, status }: Reply): DSN {
  return replyOf(code, text, ...status)
}

// ── What is said of it ───────────────────────────────────────────────────────────────────────────

export function countAccepted({ name }: ListenerPolicy, verdict: Verdict): void {
  state.counts.answered(name, 'enforce', verdict)
}

/** One line for each resulting recipient, to find out later who relayed what by which rule. */
export function logAccepted(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  account: string | undefined,
  recipient: string,
  accepted: readonly AcceptedRecipient[],
): void {
  const sender = senderOf(connection, account)
  for (const { verdict, leaving } of accepted) {
    const line = acceptanceOf(sender, recipient, verdict, addressOf(leaving))
    log(connection, 'info', plugin, 'accepted', line)
  }
}

/** The parts of the connection's session that are reported. */
interface Session {
  readonly policy: ListenerPolicy
  readonly account: string | undefined
}

export function reportRefused(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  { policy, account }: Session,
  recipient: string,
  verdict: Refused,
): void {
  const { counts, logLevels } = state
  const { rule } = verdict
  const sender = senderOf(connection, account)
  const reply = replyText(verdict.reply)
  counts.answered(policy.name, 'enforce', verdict)
  counts.refused({ sender, rule, reply, recipient })
  if (!writes('NOTICE', logLevels)) return
  const line = lineOf(sender, recipient, rule, reply, verdict.problem)
  log(connection, 'notice', plugin, outcomeOf(verdict.reply.code), line)
}

export function senderOf(connection: Haraka.Connection, account = ''): Sender {
  const { transaction, remote, hello, local } = connection
  return {
    client: remote.ip ?? '',
    host: remote.host ?? '',
    helo: hello.host ?? '',
    account,
    sender: transaction ? addressOf(transaction.mail_from) : '',
    listener: `${local.ip}:${local.port}`,
  }
}

/** For other plugins: `transaction.results`. */
export function addRecipientResult(
  plugin: Haraka.Plugin,
  { results }: Haraka.Transaction,
  outcome: 'pass' | 'fail',
  rule: Rule,
  recipient: string,
): void {
  // It lives as long as the transaction. A joined string does not keep its parts in memory.
  addResult(plugin, results, outcome, [rule, recipient].join(' '))
}

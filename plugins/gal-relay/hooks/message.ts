// The hooks from the end of DATA on: which recipients go to the queue plugins and which to the
// outbound queue, and the end of a message that goes in circles.
import { heldBack } from '../delivery/held-back'
import { MAX_PASSES, passes, stamped } from '../delivery/loops'
import type { Stored } from '../delivery/outbound'
import { pathsOf } from '../delivery/paths'
import { guard, unattended } from '../guard'
import { changeReceivedLine, replyOf } from '../haraka/internals'
import { INTERNAL_ERROR, type Path } from '../routing/decide'
import { answersAny } from '../settings/enforcement'
import { guarded } from './guarded'
import { log } from './log'
import { dsnOf } from './replies'
import { sessionOf, setRelaying } from './session'
import { state } from './state'

// Haraka makes the line before the data hooks.
export function stampReceivedLine(connection: Haraka.Connection): void {
  changeReceivedLine(connection, (line) => stamped(line, state.loopStamp))
}

export const refuse_loops = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction || !answersAny(sessionOf(connection).policy)) return next()
  const count = passes(transaction.header.get_all('received'), state.loopStamp)
  if (count <= MAX_PASSES) return next()
  const { mail_from, rcpt_to } = transaction
  log(connection, 'notice', this, 'mail loop', {
    sender: mail_from.format(),
    recipient: rcpt_to[0]?.format() ?? '',
    recipients: rcpt_to.length,
    passes: count,
  })
  return next(DENY, LOOP)
})

const LOOP = replyOf(554, 'Mail loop: this message has come here too often', 4, 6)

// After the last data_post plugin has read `relaying` as trust in the client, it says which way
// Haraka goes: a message with anyone for the queue plugins goes there first.
export const choose_path = guarded((next, connection) => {
  const { transaction } = connection
  if (!transaction) return next()
  const paths = pathsOf(transaction)
  paths.ownPath = connection.relaying ? 'outbound' : 'queue'
  const parts = paths.parts(paths.ownPath)
  if (parts) setRelaying(connection, parts.queue.length === 0)
  return next()
})

// Before the queue plugins: each way gets its own recipients.
export const prepare = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const hookPath: Path = connection.hook === 'queue' ? 'queue' : 'outbound'
  const paths = pathsOf(transaction)
  const ownPath = paths.ownPath ?? hookPath
  const parts = paths.parts(ownPath)
  if (!parts) return next()
  const trusted = ownPath === 'outbound'
  const held = heldBack(connection, transaction)
  if (parts.queue.length === 0) {
    paths.toOutbound(parts, trusted, held)
    return hookPath === 'queue' ? storeAll(this, next, connection, transaction) : next()
  }
  if (hookPath === 'queue') {
    paths.toQueuePlugins(parts, trusted)
    return next()
  }
  log(
    connection,
    'error',
    this,
    'a data_post plugin ended that hook with OK, so that mail for the queue plugins was about to ' +
      'leave by the outbound queue; it is deferred',
  )
  return next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
})

// After the plugins that discard, quarantine or sign.
export const deliver = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction || !pathsOf(transaction).isUnderWay) return next()
  return storeAll(this, next, connection, transaction)
})

// Haraka answers 550 when its own default path cannot write the outbound queue, so we write it.
function storeAll(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
): undefined {
  const held = heldBack(connection, transaction)
  if (held) {
    log(
      connection,
      'error',
      plugin,
      `marked for ${held}, and no plugin did so; the message is deferred`,
    )
    return next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
  }
  store(transaction, transaction, (stored, error) => {
    if (stored.ok) return next(OK, stored.message)
    logNotStored(plugin, connection, error)
    next(DENYSOFT, NOT_STORED)
  })
}

export const deliver_outbound_part = guarded(function (next, connection) {
  const { transaction } = connection
  const part = transaction && pathsOf(transaction).restore()
  if (!part) return next()
  const held = heldBack(connection, transaction)
  if (held) {
    log(connection, 'notice', this, `marked for ${held}: nothing of the message goes out`)
    return next()
  }
  store(transaction, part, (stored, error) => {
    if (stored.ok) return next()
    logNotStored(this, connection, error)
    // Whatever this hook says Haraka answers 250 while the connection stands. The sender must not take
    // the message for delivered: better one copy twice than one lost.
    const end = () => {
      connection.disconnect()
      next()
    }
    const ended = guard('answer after a part could not be stored', end, () => next())
    connection.respond(NOT_STORED.code, NOT_STORED, ended)
  })
})

function store(
  transaction: Haraka.Transaction,
  part: Haraka.Transaction,
  done: (stored: Stored, error?: unknown) => void,
): void {
  pathsOf(transaction).stored = new Promise<void>((resolve) => {
    state.outbound.store(part, (stored, error) => {
      resolve()
      done(stored, error)
    })
  })
}

export const end_transaction = guarded((next, { transaction }) => {
  if (!transaction) return next()
  // When the client goes, Haraka closes the message's file, which is still being read.
  const { stored } = pathsOf(transaction)
  if (!stored) return next()
  unattended(
    'end of a transaction',
    () => stored.then(() => next()),
    () => next(),
  )
})

const NOT_STORED = replyOf(451, 'The message could not be stored, please try again later', 3, 0)

function logNotStored(plugin: Haraka.Plugin, connection: Haraka.Connection, error: unknown): void {
  log(connection, 'error', plugin, `the outbound queue could not be written: ${error}`)
}

// The hooks from DATA on. They split recipients between the queue plugins and the outbound queue, and refuse
// mail loops. Hooks that few messages need are registered with the first such message.
import DSN from 'haraka-dsn'
import { heldBack } from '../delivery/held-back'
import { MAX_PASSES, passes } from '../delivery/loops'
import type { Stored } from '../delivery/outbound'
import { partsOf, restore, toOutbound, toQueuePlugins } from '../delivery/parts'
import { endRcpts } from '../delivery/recipients'
import { guard, unattended } from '../guard'
import { answersIn, registerFirst, replyOf } from '../haraka/internals'
import { log } from '../haraka/log'
import { INTERNAL_ERROR, type Path } from '../routing/decide'
import { answersAny } from '../settings/enforcement'
import { sessionOf, setRelaying, trustAgain } from './connect'
import { messageOf } from './mail'
import { dsnOf, guarded } from './reply'
import { state } from './start'

// Another plugin may have set `relaying` in the middle of the transaction.
export const begin_data = guarded((next, connection) => {
  const { transaction } = connection
  const session = sessionOf(connection)
  trustAgain(connection, session)
  if (!transaction || !answersAny(session.policy)) return next()
  endRcpts(messageOf(transaction), transaction)
  return transaction.rcpt_to.length > 0 ? next() : next(DENY, NO_VALID_RECIPIENTS)
})

// Haraka has the same check, but runs it before the recipients of a refused alias are removed.
const NO_VALID_RECIPIENTS = DSN.create(554, 'No valid recipients', 5, 1)

// Once all data_post plugins have read `relaying` as trust in the client, it decides which way Haraka takes:
// a message with any recipient for the queue plugins goes there first.
export const choose_path = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  if (isLoop(this, connection, transaction)) return next(DENY, LOOP)
  const message = messageOf(transaction)
  message.ownPath = connection.relaying ? 'outbound' : 'queue'
  const parts = partsOf(message, transaction, message.ownPath)
  if (parts) setRelaying(connection, parts.queue.length === 0)
  return next()
})

function isLoop(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
): boolean {
  const received = transaction.header.get_all('received')
  if (received.length <= MAX_PASSES || !answersAny(sessionOf(connection).policy)) return false
  const count = passes(received, state.loopStamp)
  if (count <= MAX_PASSES) return false
  const { mail_from, rcpt_to } = transaction
  log(connection, 'notice', plugin, 'mail loop', {
    sender: mail_from.format(),
    recipient: rcpt_to[0]?.format() ?? '',
    recipients: rcpt_to.length,
    passes: count,
  })
  return true
}

const LOOP = replyOf(554, 'Mail loop: this message has passed through here too often', 4, 6)

// Runs before the queue plugins and gives each way its own recipients.
export const prepare = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const message = messageOf(transaction)
  // A data_post plugin ended the hook with OK, so choose_path did not run.
  if (!message.ownPath && isLoop(this, connection, transaction)) return next(DENY, LOOP)
  const hookPath: Path = connection.hook === 'queue' ? 'queue' : 'outbound'
  const ownPath = message.ownPath ?? hookPath
  const parts = partsOf(message, transaction, ownPath)
  if (!parts) return next()
  const trusted = ownPath === 'outbound'
  if (parts.queue.length === 0) {
    registerFirst(this, 'queue_ok', 'deliver_outbound_part')
    toOutbound(message, transaction, parts, trusted, heldBack(connection, transaction))
    return hookPath === 'queue' ? storeAll(this, next, connection, transaction) : next()
  }
  if (hookPath === 'queue') {
    const isSplit = toQueuePlugins(message, transaction, parts, trusted)
    if (isSplit) registerFirst(this, 'queue_ok', 'deliver_outbound_part')
    return next()
  }
  log(
    connection,
    'error',
    this,
    'a data_post plugin ended that hook with OK, so mail for the queue plugins was about to ' +
      'leave by the outbound queue; it is deferred',
  )
  return next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
})

// Runs after the plugins that discard, quarantine or sign.
export const deliver = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction || !messageOf(transaction).underWay) return next()
  return storeAll(this, next, connection, transaction)
})

// If Haraka itself cannot write the outbound queue it answers 550, so we write the queue.
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
      `marked for ${held}, but no plugin did so; the message is deferred`,
    )
    return next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
  }
  store(plugin, transaction, transaction, (stored, error) => {
    if (stored.ok) return next(OK, stored.message)
    logNotStored(plugin, connection, error)
    next(DENYSOFT, NOT_STORED)
  })
}

// Runs when the queue plugins or the outbound queue have taken the message: `rcpt_to` has all recipients again,
// and the part for the outbound queue is stored, if there is one.
export const deliver_outbound_part = guarded(function (next, connection) {
  const { transaction } = connection
  const part = transaction && restore(messageOf(transaction), transaction)
  if (!part) return next()
  const held = heldBack(connection, transaction)
  if (held) {
    log(connection, 'notice', this, `marked for ${held}: no part of the message goes out`)
    return next()
  }
  store(this, transaction, part, (stored, error) => {
    if (stored.ok) return next()
    logNotStored(this, connection, error)
    // While the connection is open Haraka answers 250 whatever this hook returns. The sender must not believe
    // that the message was delivered: better to get one copy twice than to lose one.
    const end = () => {
      connection.disconnect()
      next()
    }
    const ended = guard('answer after a part could not be stored', end, () => next())
    connection.respond(NOT_STORED.code, NOT_STORED, ended)
  })
})

function store(
  plugin: Haraka.Plugin,
  transaction: Haraka.Transaction,
  part: Haraka.Transaction,
  done: (stored: Stored, error?: unknown) => void,
): void {
  registerFirst(plugin, 'reset_transaction', 'end_transaction')
  messageOf(transaction).stored = new Promise<void>((resolve) => {
    state.outbound.store(part, (stored, error) => {
      resolve()
      done(stored, error)
    })
  })
}

export const end_transaction = guarded((next, { transaction }) => {
  if (!transaction) return next()
  const { observed, stored } = messageOf(transaction)
  if (observed) {
    observed.answered(answersIn(transaction))
    observed.end()
  }
  // When the client disconnects, Haraka closes the message's file, which is still being read.
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

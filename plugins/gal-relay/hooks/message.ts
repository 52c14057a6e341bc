// The hooks from the end of DATA on: which recipients go to the queue plugins and which to the
// outbound queue, and the trace that finds a message that comes round again.
import { heldBack } from '../delivery/held-back'
import type { Stored } from '../delivery/outbound'
import { forgetPaths, pathsOf } from '../delivery/paths'
import { addressOf, changeReceivedLine, replyOf } from '../haraka/internals'
import { INTERNAL_ERROR, type Path } from '../routing/decide'
import { guarded, logFailure } from './guarded'
import { dsnOf } from './replies'
import { passOf } from './session'
import { state } from './state'

// Haraka makes the line before the data hooks.
export function traceReceivedLine(plugin: Haraka.Plugin, connection: Haraka.Connection): void {
  changeReceivedLine(connection, (line) => {
    const { transaction } = connection
    try {
      const addresses = transaction ? pathsOf(transaction).addresses() : []
      if (!transaction || addresses.length === 0) return line
      return state.traces.into(line, passOf(connection, transaction), addresses)
    } catch (error) {
      logFailure(plugin, connection, error)
      return line
    }
  })
}

// A copy tells of its own recipients only: who has one too and is on a list that has another would
// have the list's refused.
function narrowing(
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
): (recipients: readonly Haraka.Address[]) => void {
  const pass = passOf(connection, transaction)
  return (recipients) => {
    const addresses = recipients.map(addressOf)
    state.traces.narrow(transaction, pass, addresses)
  }
}

export const refuse_loops = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const { header, uuid } = transaction
  const received = header.get_all('received').filter((line) => !line.includes(uuid))
  const addresses = pathsOf(transaction).addresses()
  const looping = state.traces.cameFor(received, passOf(connection, transaction), addresses)
  if (looping === undefined) return next()
  connection.lognotice(this, `mail loop: this message was accepted for <${looping}> before`)
  return next(DENY, LOOP)
})

const LOOP = replyOf(554, 'Mail loop: this message was here before', 4, 6)

// Trust in the client, and so the way Haraka would have taken by itself.
const ownPaths = new WeakMap<Haraka.Transaction, Path>()

// After the last data_post plugin has read `relaying` as trust in the client, it says which way
// Haraka goes: a message with anyone for the queue plugins goes there first.
export const choose_path = guarded((next, connection) => {
  const { transaction } = connection
  if (!transaction) return next()
  const ownPath = connection.relaying ? 'outbound' : 'queue'
  ownPaths.set(transaction, ownPath)
  const parts = pathsOf(transaction).parts(ownPath)
  if (parts) connection.relaying = parts.queue.length === 0
  return next()
})

// Before the queue plugins: each way gets its own recipients.
export const prepare = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const hookPath: Path = connection.hook === 'queue' ? 'queue' : 'outbound'
  const ownPath = ownPaths.get(transaction) ?? hookPath
  const paths = pathsOf(transaction)
  const parts = paths.parts(ownPath)
  if (!parts) return next()
  const trusted = ownPath === 'outbound'
  const held = heldBack(connection, transaction)
  const narrow = narrowing(connection, transaction)
  // Who releases it sends it the way it came, to whom it was for.
  if (held === 'quarantine') narrow([])
  if (parts.queue.length === 0) {
    paths.toOutbound(parts, trusted, held)
    return hookPath === 'queue' ? storeAll(this, next, connection, transaction) : next()
  }
  if (hookPath === 'queue') {
    paths.toQueuePlugins(parts, trusted)
    if (held !== 'quarantine') narrow(parts.queue)
    return next()
  }
  connection.logerror(
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
    connection.logerror(plugin, `marked for ${held}, and no plugin did so; the message is deferred`)
    return next(DENYSOFT, dsnOf(INTERNAL_ERROR.reply))
  }
  store(connection, transaction, transaction, (stored, error) => {
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
    connection.lognotice(this, `marked for ${held}: nothing of the message goes out`)
    return next()
  }
  store(connection, transaction, part, (stored, error) => {
    if (stored.ok) return next()
    logNotStored(this, connection, error)
    // Whatever this hook says Haraka answers 250 while the connection stands. The sender must not take
    // the message for delivered: better one copy twice than one lost.
    connection.respond(NOT_STORED.code, NOT_STORED, () => {
      connection.disconnect()
      next()
    })
  })
})

const storing = new WeakMap<Haraka.Transaction, Promise<void>>()

function store(
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
  part: Haraka.Transaction,
  done: (stored: Stored, error?: unknown) => void,
): void {
  const ended = new Promise<void>((resolve) => {
    state.outbound.store(part, narrowing(connection, part), (stored, error) => {
      resolve()
      done(stored, error)
    })
  })
  storing.set(transaction, ended)
}

export const end_transaction = guarded((next, { transaction }) => {
  if (!transaction) return next()
  forgetPaths(transaction)
  // When the client goes, Haraka closes the message's file, which is still being read.
  const stored = storing.get(transaction)
  if (!stored) return next()
  void stored.then(() => next())
})

const NOT_STORED = replyOf(451, 'The message could not be stored, please try again later', 3, 0)

function logNotStored(plugin: Haraka.Plugin, connection: Haraka.Connection, error: unknown): void {
  connection.logerror(plugin, `the outbound queue could not be written: ${error}`)
}

// The mail hook, and the state of a message from MAIL to its end: one object on the transaction.
import { Delivery } from '../delivery/delivery'
import type { ObservedTransaction } from '../report/observation'
import { sessionOf, trustAgain } from './connect'
import { guarded } from './reply'

export class Message extends Delivery {
  /** Set once a recipient has been observed. */
  observed: ObservedTransaction | undefined
  /** The last RCPT that was observed, numbered as in {@link Delivery.rcpt}. */
  observedRcpt: number | undefined
}

const MESSAGE = Symbol('gal-relay: message')

/** Haraka drops the transaction, and this object with it, at the end of the message. */
export function messageOf(transaction: Haraka.Transaction & { [MESSAGE]?: Message }): Message {
  transaction[MESSAGE] ??= new Message()
  return transaction[MESSAGE]
}

// On port 587 Haraka requires `relaying` on the connection for MAIL, and AUTH sets it there. From here on the
// transaction has its own.
export const begin_transaction = guarded<[Haraka.Address, Haraka.Parameters]>(
  (next, connection, [, parameters]) => {
    trustAgain(connection, sessionOf(connection))
    const { transaction } = connection
    // SMTPUTF8 must be passed on to the next server (RFC 6531 §3.5).
    if (transaction && 'SMTPUTF8' in parameters) messageOf(transaction).smtputf8 = true
    return next()
  },
)

// The mail hook, and what is known of a message from MAIL to its end: one object, on its transaction.
import { Delivery } from '../delivery/delivery'
import type { ObservedTransaction } from '../report/observation'
import { sessionOf, trustAgain } from './connect'
import { guarded } from './reply'

export class Message extends Delivery {
  /** Where the plugin has observed a recipient. */
  observed: ObservedTransaction | undefined
  /** The number of the RCPT, as in {@link Delivery.rcpt}, that was observed last. */
  observedRcpt: number | undefined
}

const MESSAGE = Symbol('gal-relay: message')

/** Haraka drops the transaction, and this with it, at the message's end. */
export function messageOf(transaction: Haraka.Transaction & { [MESSAGE]?: Message }): Message {
  transaction[MESSAGE] ??= new Message()
  return transaction[MESSAGE]
}

// Haraka wants `relaying` on the connection for MAIL on port 587, and AUTH sets it there; from here on it
// is the transaction's.
export const begin_transaction = guarded<[Haraka.Address, Haraka.Parameters]>(
  (next, connection, [, parameters]) => {
    trustAgain(connection, sessionOf(connection))
    const { transaction } = connection
    // The next server must hear SMTPUTF8 as well (RFC 6531 §3.5).
    if (transaction && 'SMTPUTF8' in parameters) messageOf(transaction).smtputf8 = true
    return next()
  },
)

// The connect, mail and data hooks: `relaying` is what the rules say of the client.
import DSN from 'haraka-dsn'
import { pathsOf } from '../delivery/paths'
import { answersAny, decidesRelaying } from '../settings/enforcement'
import { guarded } from './guarded'
import { stampReceivedLine } from './message'
import { lastSession, sessionOf, setRelaying } from './session'

// The connect hook runs again when XCLIENT replaces the addresses. Haraka takes a PROXY line at any
// time from a connection that began with one, and all but the first are the client's own.
export const trust_client = guarded((next, connection) => {
  const former = lastSession(connection)
  const session = sessionOf(connection)
  const isForged = former !== undefined && former.proxy !== session.proxy
  if (isForged && (decidesRelaying(former.policy) || decidesRelaying(session.policy))) {
    return next(DENYDISCONNECT, 'PROXY is for the first line only')
  }
  if (answersAny(session.policy)) stampReceivedLine(connection)
  if (!decidesRelaying(session.policy)) return next()
  if (connection.xclient) delete connection.notes.auth_user
  if (sessionOf(connection).client.trust.mayRelay) connection.relaying = true
  return next()
})

// From here on `relaying` is the transaction's. It says what the rules say of the client, whatever
// an AUTH or relay plugin has set on the connection, where Haraka wants it for MAIL on port 587, or
// sets in the middle of the transaction.
export const trust_transaction = guarded((next, connection) => {
  trustAgain(connection)
  const { transaction } = connection
  if (!transaction || !answersAny(sessionOf(connection).policy)) return next()
  pathsOf(transaction).end()
  return transaction.rcpt_to.length > 0 ? next() : next(DENY, NO_VALID_RECIPIENTS)
})

// Haraka says so too, but it has looked before those of a refused alias were taken off.
const NO_VALID_RECIPIENTS = DSN.create(554, 'No valid recipients', 5, 1)

export const begin_transaction = guarded<[Haraka.Address, Haraka.Parameters]>(
  (next, connection, [, parameters]) => {
    trustAgain(connection)
    const { transaction } = connection
    // The next server must hear SMTPUTF8 as well (RFC 6531 §3.5).
    if (transaction && 'SMTPUTF8' in parameters) pathsOf(transaction).declareUtf8()
    return next()
  },
)

function trustAgain(connection: Haraka.Connection): void {
  const { policy, client } = sessionOf(connection)
  if (decidesRelaying(policy)) setRelaying(connection, client.trust.mayRelay)
}

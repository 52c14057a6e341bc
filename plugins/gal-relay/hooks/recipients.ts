// The rcpt hooks of a listener where the plugin's verdict is the answer.
import { pathsOf } from '../delivery/paths'
import { MIXED_DEFERRED } from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { type Decided, decideOnAll, verdictOn } from './decision'
import { guarded } from './guarded'
import { watch_recipient } from './observation'
import { refuse } from './refusals'
import { addResult } from './results'
import { clientOf, sessionOf } from './session'
import { state } from './state'

// Before a plugin such as aliases puts other recipients into its place.
export const begin_recipient = guarded<[Haraka.Address]>((next, { transaction }, [address]) => {
  if (transaction) pathsOf(transaction).begin(address)
  return next()
})

export const check_recipient = guarded<[Haraka.Address]>(function (next, connection, params) {
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy } = session
  if (!transaction || !policy.enabled) return next()
  if (!policy.enforce) return watch_recipient.call(this, next, connection, params)

  const client = clientOf(session, connection)
  connection.relaying = client.trust.mayRelay
  const targets = pathsOf(transaction).targets(params[0])
  const decided = decideOnAll(policy, client, targets)
  if (!(decided instanceof Promise)) return respond(this, next, connection, policy, decided)
  return decided.then((answers) => respond(this, next, connection, policy, answers))
})

function respond(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  policy: ListenerPolicy,
  decided: readonly Decided[],
): undefined {
  const { transaction } = connection
  // The client has gone while the directory was asked.
  if (!transaction) return next()
  const paths = pathsOf(transaction)
  for (const { target, verdict } of decided) {
    const { address } = paths.written(target)
    if (!verdict.accept) return refuse(plugin, next, connection, address, policy, verdict)
    if (policy.mixed === 'defer' && paths.isMixed(target, verdict.path)) {
      return refuse(plugin, next, connection, address, policy, MIXED_DEFERRED)
    }
  }
  state.counts.answered(policy.name, 'enforce', verdictOn(decided))
  for (const { target, destination, verdict } of decided) {
    if (!verdict.accept) continue
    paths.accept(target, destination, verdict)
    addResult(plugin, transaction, true, `${verdict.rule} ${paths.written(target).address}`)
  }
  return next(OK)
}

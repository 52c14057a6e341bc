// The rcpt hooks of a listener where the plugin's verdict is the answer.
import { MIXED_DEFERRED } from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { type Decided, decideOn, verdictOn } from './decision'
import { guarded } from './guarded'
import { watch_recipient } from './observation'
import { refuse } from './refusals'
import { addResult } from './results'
import { clientOf, sessionOf } from './session'
import { state } from './state'

// Before a plugin such as aliases puts other recipients into its place.
export const begin_recipient = guarded<[Haraka.Address]>((next, { transaction }, [address]) => {
  if (transaction) state.paths.begin(transaction, address)
  return next()
})

export const check_recipient = guarded<[Haraka.Address]>(function (next, connection, params) {
  const [address] = params
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy } = session
  if (!transaction || !policy.enabled) return next()
  if (!policy.enforce) return watch_recipient.call(this, next, connection, params)

  const client = clientOf(session, connection)
  connection.relaying = client.trust.mayRelay
  const answer = (decided: readonly Decided[]) => respond(this, next, connection, policy, decided)
  const [target = address, ...others] = state.paths.targets(transaction)
  const first = decideOn(policy, client, target)
  if (others.length === 0) {
    return first instanceof Promise ? first.then((one) => answer([one])) : answer([first])
  }
  const rest = others.map((other) => decideOn(policy, client, other))
  return Promise.all([first, ...rest]).then(answer)
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
  for (const { target, verdict } of decided) {
    const written = state.paths.written(transaction, target)
    if (!verdict.accept) return refuse(plugin, next, connection, written, policy, verdict)
    if (policy.mixed === 'defer' && state.paths.isMixed(transaction, target, verdict.path)) {
      return refuse(plugin, next, connection, written, policy, MIXED_DEFERRED)
    }
  }
  state.counts.answered(policy.name, 'enforce', verdictOn(decided))
  for (const { target, destination, verdict } of decided) {
    if (!verdict.accept) continue
    const written = state.paths.accept(transaction, target, destination, verdict)
    const result = `${verdict.rule} ${written.address}`
    addResult(plugin, transaction, true, result)
  }
  return next(OK)
}

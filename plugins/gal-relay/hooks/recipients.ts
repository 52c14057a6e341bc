// The rcpt hooks of a listener where the plugin's verdict is the answer.
import { type DeliveryPaths, pathsOf } from '../delivery/paths'
import { addressOf } from '../haraka/internals'
import { MIXED_DEFERRED, type Refused, type Verdict } from '../routing/decide'
import type { ListenerPolicy } from '../settings/settings'
import { type Decided, decideOnAll } from './decision'
import { guarded } from './guarded'
import { watch_recipient } from './observation'
import { refuse } from './refusals'
import { tellResult } from './results'
import { type Session, sessionOf } from './session'
import { tellOfAccepted } from './telling'

// Before a plugin such as aliases puts other recipients into its place.
export const begin_recipient = guarded<[Haraka.Address]>((next, { transaction }, [address]) => {
  if (transaction) pathsOf(transaction).begin(address)
  return next()
})

export const check_recipient = guarded<[Haraka.Address]>(function (next, connection, params) {
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy, client } = session
  if (!transaction || !policy.enabled) return next()
  if (!policy.enforce) return watch_recipient.call(this, next, connection, params)

  connection.relaying = client.trust.mayRelay
  const paths = pathsOf(transaction)
  const decided = decideOnAll(policy, client, paths.targets(params[0]))
  if (decided instanceof Promise)
    return respondLater(this, next, connection, session, paths, decided)
  return respond(this, next, connection, session, paths, decided)
})

async function respondLater(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  session: Session,
  paths: DeliveryPaths,
  decided: Promise<readonly Decided[]>,
): Promise<undefined> {
  return respond(plugin, next, connection, session, paths, await decided)
}

function respond(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  session: Session,
  paths: DeliveryPaths,
  decided: readonly Decided[],
): undefined {
  const { transaction } = connection
  const { policy } = session
  // The client has gone while the directory was asked.
  if (!transaction) return next()
  for (const { target, verdict } of decided) {
    const refused = refusal(paths, target, policy, verdict)
    if (refused) {
      const address = addressOf(paths.written(target))
      paths.refuse()
      return refuse(plugin, next, connection, address, session, refused)
    }
  }
  if (decided[0]) tellOfAccepted(policy, decided[0].verdict)
  for (const { target, destination, verdict } of decided) {
    if (!verdict.accept) continue
    paths.accept(target, destination, verdict)
    const address = addressOf(paths.written(target))
    tellResult(plugin, transaction, true, verdict.rule, address)
  }
  return next(OK)
}

function refusal(
  paths: DeliveryPaths,
  target: Haraka.Address,
  { mixed }: ListenerPolicy,
  verdict: Verdict,
): Refused | undefined {
  if (!verdict.accept) return verdict
  return mixed === 'defer' && paths.isMixed(target, verdict.path) ? MIXED_DEFERRED : undefined
}

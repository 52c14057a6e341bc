// The rcpt hooks: recipients to whom the plugin's verdict is the answer, and, where nobody else accepts
// any, those that it only observes.
import { type DeliveryPaths, pathsOf } from '../delivery/paths'
import { addressOf } from '../haraka/internals'
import { INTERNAL_ERROR, isRelayed, type Refused, type Verdict } from '../routing/decide'
import { trustByOthers } from '../routing/restrictions'
import { acceptsUnasked, answersAny, decidesRelaying } from '../settings/enforcement'
import type { ListenerPolicy } from '../settings/settings'
import { answersTo, type Decided, decideOnAll, decideUnaskedOn } from './decision'
import { guarded } from './guarded'
import { log } from './log'
import { watch_recipient } from './observation'
import { refuse } from './refusals'
import { answerOf } from './replies'
import { tellResult } from './results'
import { type Session, sessionOf, setRelaying } from './session'
import { tellOfAccepted } from './telling'

// Before a plugin such as aliases puts other recipients into its place.
export const begin_recipient = guarded<[Haraka.Address]>((next, connection, [address]) => {
  const { transaction } = connection
  if (transaction) pathsOf(transaction).begin(address, answersAny(sessionOf(connection).policy))
  return next()
})

export const check_recipient = guarded<[Haraka.Address]>(function (next, connection, params) {
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy, client } = session
  if (!transaction || !policy.enabled) return next()
  const paths = pathsOf(transaction)
  paths.begin(params[0], answersAny(policy))
  const targets = paths.targets()
  if (decidesRelaying(policy)) setRelaying(connection, client.trust.mayRelay)
  if (!answersTo(policy, targets)) return watch_recipient.call(this, next, connection, params)
  if (targets.length === 0) return refuseNobody(this, next, connection, session, paths, params[0])
  const decided = decideOnAll(policy, client, targets)
  if (decided instanceof Promise)
    return respondLater(this, next, connection, session, paths, decided)
  return respond(this, next, connection, session, paths, decided)
})

// When all other plugins have been asked and nobody has answered. Foreign recipients are left to Haraka,
// which accepts them from clients that may relay.
export const accept_unasked = guarded(async function (next, connection) {
  const { transaction } = connection
  const { policy, client } = sessionOf(connection)
  if (!transaction || !acceptsUnasked(policy)) return next()
  const paths = pathsOf(transaction)
  const trust = trustByOthers(connection.relaying)
  const targets = paths.targets()
  if (targets.length === 0) {
    paths.putBack()
    return next()
  }
  const decided = await Promise.all(
    targets.map((target) => decideUnaskedOn(policy, { ...client, trust }, target)),
  )
  // The client has gone while the directory was asked.
  if (connection.transaction !== transaction) return next()
  for (const { verdict } of decided) {
    if (verdict.accept && isRelayed(verdict)) return next()
    const refused = refusal(paths, policy, verdict)
    if (!refused) continue
    return refused.reply.code < 500 ? next(DENYSOFT, answerOf(refused.reply)) : next()
  }
  acceptAll(this, transaction, paths, decided)
  return next(OK)
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
    const refused = refusal(paths, policy, verdict)
    if (refused) {
      const address = addressOf(paths.written(target))
      return refuse(plugin, next, connection, address, session, refused)
    }
  }
  if (decided[0]) tellOfAccepted(policy, decided[0].verdict)
  acceptAll(plugin, transaction, paths, decided)
  return next(OK)
}

function acceptAll(
  plugin: Haraka.Plugin,
  transaction: Haraka.Transaction,
  paths: DeliveryPaths,
  decided: readonly Decided[],
): void {
  for (const { target, destination, verdict } of decided) {
    if (!verdict.accept) continue
    paths.accept(target, destination, verdict)
    const address = addressOf(paths.written(target))
    tellResult(plugin, transaction, true, verdict.rule, address)
  }
}

function refusal(
  paths: DeliveryPaths,
  { mixed }: ListenerPolicy,
  verdict: Verdict,
): Refused | undefined {
  if (!verdict.accept) return verdict
  return paths.refusal(verdict, mixed)
}

// Whoever took it off may have meant to drop its mail, or may have failed.
function refuseNobody(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  session: Session,
  paths: DeliveryPaths,
  address: Haraka.Address,
): undefined {
  paths.putBack()
  const written = addressOf(paths.written(address))
  log(connection, 'error', plugin, `recipient ${written} was taken off by another plugin`)
  return refuse(plugin, next, connection, written, session, INTERNAL_ERROR)
}

// The rcpt hooks. The plugin answers recipients by its verdict, or only observes them. Where no other plugin
// accepts recipients, observed ones are accepted without a look-up.
import { acceptRecipient, beginRcpt, putBack, targetsOf } from '../delivery/recipients'
import { unattended } from '../guard'
import { addressOf, answersIn, hostOf, registerFirst, writes } from '../haraka/internals'
import { log } from '../haraka/log'
import type { Counted, Delay } from '../harvest/defence'
import { type Observed, ObservedTransaction, outcomeOfVerdict } from '../report/observation'
import { lineOf, replyText, type Sender } from '../report/refusal'
import { type Answer, answerTo } from '../routing/answer'
import {
  type Destination,
  destinationOf,
  HELD_OFF,
  INTERNAL_ERROR,
  isRelayed,
  type Refused,
  type Verdict,
} from '../routing/decide'
import { recipientOf } from '../routing/recipient'
import { trustByOthers } from '../routing/restrictions'
import { saysUnknown } from '../routing/rules'
import { acceptsUnasked, answersAny, answersTo, observesRecipients } from '../settings/enforcement'
import type { ListenerPolicy } from '../settings/settings'
import { type Session, sessionOf, trustAgain } from './connect'
import { type Message, messageOf } from './mail'
import {
  addRecipientResult,
  countAccepted,
  dsnOf,
  guarded,
  logAccepted,
  logFailure,
  replyToRecipient,
  reportRefused,
  senderOf,
} from './reply'
import { state } from './start'

/** One RCPT, with the recipients that plugins have made of it so far. */
interface Rcpt {
  readonly session: Session
  readonly transaction: Haraka.Transaction
  readonly message: Message
  readonly targets: readonly Haraka.Address[]
  readonly destinations: readonly Destination[]
}

// Runs before a plugin such as aliases replaces the recipient, and before any plugin answers.
export const begin_recipient = guarded<[Haraka.Address]>(function (next, connection, [address]) {
  const rcpt = rcptOf(connection, address)
  if (rcpt && !state.rewritesRecipients) observe(this, connection, rcpt)
  return next()
})

export const check_recipient = guarded<[Haraka.Address]>(function (next, connection, [address]) {
  const rcpt = rcptOf(connection, address)
  if (!rcpt) return next()
  const { session, targets, destinations } = rcpt
  const { policy, question } = session
  trustAgain(connection, session)
  if (!answersTo(policy, destinations)) {
    observe(this, connection, rcpt)
    return next()
  }
  if (session.counted && state.harvest?.defence?.isHeldOff(session.counted, 'rcpt')) {
    return holdOff(this, next, connection, rcpt)
  }
  if (targets.length === 0) return refuseNobody(this, next, connection, rcpt)
  const answer = answerTo(question, destinations, rcpt.message.before)
  return answer instanceof Promise
    ? respondLater(this, next, connection, rcpt, answer)
    : respond(this, next, connection, rcpt, answer)
})

// Runs when no other plugin has answered. Foreign recipients are left to Haraka, which accepts them from
// clients that may relay.
export const accept_unasked = guarded<[Haraka.Address]>(async function (
  next,
  connection,
  [address],
) {
  const rcpt = rcptOf(connection, address)
  if (!rcpt || !acceptsUnasked(rcpt.session.policy)) return next()
  const { session, transaction, message, targets, destinations } = rcpt
  const { question } = session
  if (targets.length === 0) {
    putBack(message, transaction)
    return next()
  }
  const trust = trustByOthers(connection.relaying)
  const client = { ...question.client, trust }
  const unasked = { ...question, client, unasked: true }
  const answer = await answerTo(unasked, destinations, message.before)
  // The client disconnected while the directory was asked.
  if (connection.transaction !== transaction) return next()
  const { verdict, accepted } = answer
  if (!verdict.accept) {
    return verdict.reply.code < 500 ? next(DENYSOFT, dsnOf(verdict.reply)) : next()
  }
  if (accepted.some(isRelayed)) return next()
  acceptAll(this, rcpt, answer)
  return next(OK)
})

/**
 * The RCPT under way. The first call for it settles the one before, see {@link beginRcpt}.
 * @returns undefined if the plugin is disabled here, or there is no transaction
 */
function rcptOf(connection: Haraka.Connection, address: Haraka.Address): Rcpt | undefined {
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy } = session
  if (!transaction || !policy.enabled) return undefined
  const message = messageOf(transaction)
  beginRcpt(message, transaction, address, answersAny(policy))
  const targets = targetsOf(message, transaction)
  const destinations = targets.map((target) =>
    destinationOf(policy.routing, recipientOf(target.user, hostOf(target))),
  )
  return { session, transaction, message, targets, destinations }
}

async function respondLater(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  rcpt: Rcpt,
  answer: Promise<Answer>,
): Promise<undefined> {
  return await respond(plugin, next, connection, rcpt, await answer)
}

function respond(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  rcpt: Rcpt,
  answer: Answer,
): undefined | Promise<undefined> {
  const { session, transaction } = rcpt
  const { verdict } = answer
  // The client disconnected while the directory was asked.
  if (connection.transaction !== transaction) return next()
  const delay = session.counted && count(session.counted, verdict)
  if (!verdict.accept) {
    return delay
      ? refuseLater(plugin, next, connection, rcpt, verdict, delay)
      : refuse(plugin, next, connection, rcpt, verdict)
  }
  countAccepted(session.policy, verdict)
  acceptAll(plugin, rcpt, answer)
  if (writes('INFO', state.logLevels)) {
    const { accepted, rcpt: current } = rcpt.message
    const from = current?.acceptedFrom ?? accepted.length
    const recipient = writtenAddress(rcpt)
    logAccepted(plugin, connection, session.account, recipient, accepted.slice(from))
  }
  return next(OK)
}

function acceptAll(plugin: Haraka.Plugin, rcpt: Rcpt, { accepted }: Answer): void {
  const { transaction, message, targets, destinations, session } = rcpt
  const { directories } = session.settings
  const address = writtenAddress(rcpt)
  accepted.forEach((verdict, index) => {
    const target = targets[index]
    const destination = destinations[index]
    if (!target || !destination) return
    acceptRecipient(message, transaction, target, destination, verdict, directories)
    addRecipientResult(plugin, transaction, 'pass', verdict.rule, address)
  })
}

function refuse(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  rcpt: Rcpt,
  verdict: Refused,
): undefined {
  const { rule, reply } = verdict
  const recipient = writtenAddress(rcpt)
  addRecipientResult(plugin, rcpt.transaction, 'fail', rule, recipient)
  reportRefused(plugin, connection, rcpt.session, recipient, verdict)
  return next(reply.code < 500 ? DENYSOFT : DENY, replyToRecipient(reply))
}

// ── Harvest defence ──────────────────────────────────────────────────────────────────────────────

/** @returns for an unknown recipient the result of `HarvestDefence.unknown`, otherwise undefined */
function count(counted: Counted, verdict: Verdict): Delay | Promise<Delay> | undefined {
  const defence = state.harvest?.defence
  const code = verdict.accept ? 250 : verdict.reply.code
  if (!defence || (code >= 400 && code < 500)) return undefined
  if (verdict.accept || !saysUnknown(verdict.rule)) {
    defence.other(counted)
    return undefined
  }
  // While the directory is down, cached answers must not hold anybody off.
  return state.lists.canBeAsked() ? defence.unknown(counted) : undefined
}

async function refuseLater(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  rcpt: Rcpt,
  verdict: Refused,
  counting: Delay | Promise<Delay>,
): Promise<undefined> {
  const delay = await counting
  const isHeldOff = delay === 'held off'
  if (!isHeldOff) await state.harvest?.defence?.delay(delay)
  // The client has disconnected meanwhile.
  if (connection.transaction !== rcpt.transaction) return next()
  if (isHeldOff) return holdOff(plugin, next, connection, rcpt)
  return refuse(plugin, next, connection, rcpt, verdict)
}

function holdOff(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  rcpt: Rcpt,
): undefined {
  const recipient = writtenAddress(rcpt)
  addRecipientResult(plugin, rcpt.transaction, 'fail', HELD_OFF.rule, recipient)
  reportRefused(plugin, connection, rcpt.session, recipient, HELD_OFF)
  return next(DENYSOFTDISCONNECT, dsnOf(HELD_OFF.reply))
}

// The plugin that removed it may have meant to drop its mail, or may have failed.
function refuseNobody(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  rcpt: Rcpt,
): undefined {
  putBack(rcpt.message, rcpt.transaction)
  const written = writtenAddress(rcpt)
  log(connection, 'error', plugin, `recipient ${written} was removed by another plugin`)
  return refuse(plugin, next, connection, rcpt, INTERNAL_ERROR)
}

/** The recipient as the sender wrote it. */
function writtenAddress({ message }: Rcpt): string {
  return message.rcpt ? addressOf(message.rcpt.written) : ''
}

// ── Recipients that are only observed ────────────────────────────────────────────────────────────

// Once for each RCPT. The reply does not wait for the verdict, so neither a slow directory nor a failure can
// change or delay it.
function observe(plugin: Haraka.Plugin, connection: Haraka.Connection, rcpt: Rcpt): void {
  const { session, transaction, message, destinations } = rcpt
  const { policy, question, account } = session
  const number = message.rcpt?.answered
  if (!observesRecipients(policy) || answersTo(policy, destinations)) return
  if (number === undefined || number === message.observedRcpt) return
  try {
    message.observedRcpt = number
    message.observed ??= new ObservedTransaction()
    registerFirst(plugin, 'reset_transaction', 'end_transaction')
    const { observed } = message
    const answers = answersIn(transaction)
    observed.answered(answers)
    const sender = senderOf(connection, account)
    const recipient = writtenAddress(rcpt)
    unattended('observation of a recipient', async () => {
      const both = await observed.add(answers.length, (before) =>
        answerTo(question, destinations, before),
      )
      compare(plugin, connection, policy, sender, recipient, both)
      if (session.counted) await count(session.counted, both.verdict)
    })
  } catch (error) {
    logFailure(plugin, connection, error)
  }
}

function compare(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  { name }: ListenerPolicy,
  sender: Sender,
  recipient: string,
  { verdict, given }: Observed,
): void {
  const { counts } = state
  const { rule } = verdict
  const outcome = outcomeOfVerdict(verdict)
  const reply = verdict.accept ? '250' : replyText(verdict.reply)
  const answered = given?.reply ?? ''
  const differs = given !== undefined && given.outcome !== outcome
  const seen = { sender, rule, reply, answered, recipient }
  counts.answered(name, 'observe', verdict)
  if (!given) counts.unanswered(name, outcome)
  if (!verdict.accept) counts.refused(seen)
  if (differs) counts.differed(name, rule, outcome, given.outcome, seen)
  else if (verdict.accept && !writes('INFO', state.logLevels)) return
  const problem = verdict.accept ? undefined : verdict.problem
  const line = lineOf(sender, recipient, rule, reply, problem)
  const observation = { ...line, answered }
  const level = differs || !verdict.accept ? 'notice' : 'info'
  log(connection, level, plugin, differs ? 'observed DIFFERS' : 'observed', observation)
}

// The hooks that only look on, where `enforce = false`: what the verdict would have been, and what
// was answered.
import { pathsOf } from '../delivery/paths'
import { addressOf, registerFirst } from '../haraka/internals'
import {
  type Given,
  type Observed,
  ObservedTransaction,
  outcomeOfVerdict,
} from '../report/observation'
import { lineOf, replyText, type Sender } from '../report/refusal'
import { visible } from '../report/visible'
import type { ListenerPolicy } from '../settings/settings'
import { decideOn, verdictOn } from './decision'
import { logFailure, looking } from './guarded'
import { observesAnywhere, sessionOf } from './session'
import { state } from './state'
import { fieldsOf } from './telling'

const transactions = new WeakMap<Haraka.Transaction, ObservedTransaction>()
// The hook may have been registered twice.
const watched = new WeakSet<Haraka.Address>()

let isWatching = false

/**
 * Has this look on, once somewhere a verdict is only observed.
 *
 * @param isRewritten a plugin puts other recipients into the place of those that were sent: then they
 *   are looked at when it has, else before any plugin that answers
 */
export function watchAsNeeded(plugin: Haraka.Plugin, isRewritten: boolean): void {
  if (isWatching || !observesAnywhere(state.settings)) return
  isWatching = true
  registerFirst(plugin, 'reset_transaction', 'watch_end')
  if (!isRewritten) registerFirst(plugin, 'rcpt', 'watch_recipient')
}

// Nobody waits for the verdict, so that a slow directory does not change the answer by a moment.
export const watch_recipient = looking<[Haraka.Address]>(function (connection, [address]) {
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy, client } = session
  if (!transaction || !policy.enabled || policy.enforce || watched.has(address)) return
  watched.add(address)

  const given = givenTo(transaction)
  const observed = transactions.get(transaction) ?? new ObservedTransaction()
  transactions.set(transaction, observed)
  observed.answered(given)
  const paths = pathsOf(transaction)
  const targets = paths.targets(address)
  const verdict = Promise.all(targets.map((target) => decideOn(policy, client, target))).then(
    (decided) => verdictOn(decided),
  )
  const { sender } = fieldsOf(this, connection, session)
  const recipient = addressOf(paths.written(address))
  observed.add(given.length, policy.mixed, verdict).then(
    (both) => compare(this, connection, policy, sender, recipient, both),
    (error) => logFailure(this, connection, error),
  )
})

export const watch_end = looking((connection) => {
  const { transaction } = connection
  const observed = transaction && transactions.get(transaction)
  if (!observed) return
  observed.answered(givenTo(transaction))
  observed.end()
})

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
  const observation = { ...lineOf(sender, recipient, rule, reply), answered: visible(answered) }
  counts.answered(name, 'observe', verdict)
  if (!verdict.accept) {
    counts.refused({ sender, rule, reply, answered, recipients: [recipient] })
  }
  if (given && given.outcome !== outcome) {
    counts.differed(name, rule, outcome, given.outcome)
    connection.lognotice(plugin, 'observed DIFFERS', observation)
  } else if (verdict.accept) {
    connection.loginfo(plugin, 'observed', observation)
  } else {
    connection.lognotice(plugin, 'observed', observation)
  }
}

/** What Haraka has answered to the recipients of a transaction so far, in order. */
function givenTo({ results }: Haraka.Transaction): readonly Given[] {
  const answers = results.get('rcpt_to')?.recipient ?? []
  return answers.map(({ action, code, msg }) => {
    if (action === 'accept') return { outcome: 'accepted', reply: '250' }
    const refused = action === 'reject'
    const number = typeof code === 'number' ? code : refused ? 550 : 450
    return { outcome: refused ? 'refused' : 'deferred', reply: `${number} ${msg ?? ''}`.trim() }
  })
}

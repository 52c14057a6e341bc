// The hooks that only look on, where recipients are not decided on: what the verdict would have been, and what
// was answered.
import { pathsOf } from '../delivery/paths'
import { unattended } from '../guard'
import { addressOf, registerFirst } from '../haraka/internals'
import { type Observed, ObservedTransaction, outcomeOfVerdict } from '../report/observation'
import { lineOf, replyText, type Sender } from '../report/refusal'
import { answersAny, observesRecipients } from '../settings/enforcement'
import type { ListenerPolicy } from '../settings/settings'
import { visible } from '../visible'
import { answersTo, decideOn, verdictOn } from './decision'
import { looking } from './guarded'
import { log } from './log'
import { observesAnywhere, sessionOf } from './session'
import { state } from './state'
import { senderOf } from './telling'

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
  if (!transaction || !observesRecipients(policy) || watched.has(address)) return
  const paths = pathsOf(transaction)
  paths.begin(address, answersAny(policy))
  const targets = paths.targets()
  if (answersTo(policy, targets)) return
  watched.add(address)

  const answers = answersIn(transaction)
  const observed = transactions.get(transaction) ?? new ObservedTransaction()
  transactions.set(transaction, observed)
  observed.answered(answers)
  const verdict = async () =>
    verdictOn(await Promise.all(targets.map((target) => decideOn(policy, client, target))))
  const sender = senderOf(connection)
  const recipient = addressOf(paths.written(address))
  unattended('observation of a recipient', async () => {
    const both = await observed.add(answers.length, policy.mixed, verdict())
    compare(this, connection, policy, sender, recipient, both)
  })
})

export const watch_end = looking((connection) => {
  const { transaction } = connection
  const observed = transaction && transactions.get(transaction)
  if (!observed) return
  observed.answered(answersIn(transaction))
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
    counts.refused({ sender, rule, reply, answered, recipient })
  }
  if (given && given.outcome !== outcome) {
    counts.differed(name, rule, outcome, given.outcome)
    log(connection, 'notice', plugin, 'observed DIFFERS', observation)
  } else if (verdict.accept) {
    log(connection, 'info', plugin, 'observed', observation)
  } else {
    log(connection, 'notice', plugin, 'observed', observation)
  }
}

/** Haraka's answers to the recipients of a transaction so far, in order; the array itself, which grows. */
function answersIn({ results }: Haraka.Transaction): readonly Haraka.RecipientResult[] {
  return results.get('rcpt_to')?.recipient ?? []
}

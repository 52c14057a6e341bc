// What was decided about each recipient, for other plugins: `transaction.results`.
import { addResult } from '../haraka/internals'
import type { Rule } from '../routing/decide'

export function tellResult(
  plugin: Haraka.Plugin,
  { results }: Haraka.Transaction,
  isAccepted: boolean,
  rule: Rule,
  recipient: string,
): void {
  // It is kept for as long as the transaction: joined, it does not keep its pieces too.
  addResult(plugin, results, isAccepted ? 'pass' : 'fail', [rule, recipient].join(' '))
}

// What was decided about each recipient, for other plugins: `transaction.results`.
import type { Rule } from '../routing/decide'

export function addResult(
  plugin: Haraka.Plugin,
  { results }: Haraka.Transaction,
  isAccepted: boolean,
  rule: Rule,
  recipient: string,
): void {
  // It is kept for as long as the transaction: joined, it does not keep its pieces too.
  const text = [rule, recipient].join(' ')
  const result = isAccepted ? { pass: text, human: text } : { fail: text, human: text }
  const known = results.get(plugin)
  if (known) {
    // As `add` does it; but that looks for everything that a result might hold, which takes longer
    // than the decision.
    const texts = isAccepted ? known.pass : known.fail
    texts.push(text)
    known.human = text
    results.redis_publish(plugin.name, result)
  } else {
    results.add(plugin, result)
  }
}

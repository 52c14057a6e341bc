// Messages that a filter wants discarded or quarantined instead of delivered. queue/discard and
// queue/quarantine do that, and end the queue hook; where they did not, nothing may go out all the same.

/** @returns what is to become of the message, if not that it is delivered */
export function heldBack(
  connection: Haraka.Connection,
  { notes }: Haraka.Transaction,
): 'discard' | 'quarantine' | undefined {
  const wants = notes.get('queue.wants')
  if (wants === 'discard' || connection.notes.discard || notes.discard) return 'discard'
  // Without an action, notes.quarantine asks for a copy only.
  const quarantine = connection.notes.quarantine || notes.quarantine
  const action = connection.notes.quarantine_action || notes.quarantine_action
  return wants === 'quarantine' || (quarantine && action) ? 'quarantine' : undefined
}

// Messages that a filter wants discarded or quarantined. queue/discard and queue/quarantine do that and end
// the queue hook. If neither of them did, the message still must not go out.

/** @returns what the filter asked for; undefined if the message may be delivered */
export function heldBack(
  connection: Haraka.Connection,
  { notes }: Haraka.Transaction,
): 'discard' | 'quarantine' | undefined {
  const wants = notes.get('queue.wants')
  if (wants === 'discard' || connection.notes.discard || notes.discard) return 'discard'
  // Without an action, notes.quarantine only asks for a copy.
  const quarantine = connection.notes.quarantine || notes.quarantine
  const action = connection.notes.quarantine_action || notes.quarantine_action
  return wants === 'quarantine' || (quarantine && action) ? 'quarantine' : undefined
}

// The hooks of Haraka's outbound queue: where a message goes next, and whom a bounce names.
import { nameAsWritten } from '../delivery/outbound'
import { unattended } from '../guard'
import { log, oneLine } from '../haraka/log'
import { INTERNAL_ERROR } from '../routing/decide'
import { logFailure } from './reply'
import { state } from './start'

export function find_next_hops(
  this: Haraka.Plugin,
  next: Haraka.NextMx,
  item: Haraka.QueueItem,
  domain: string,
): void {
  const answer = async () => {
    const answer = await state.outbound.mxFor(item, domain, state.settings)
    switch (answer.code) {
      case 'ok':
        return next(OK, answer.mxs)
      case 'up-to-haraka':
      case 'split':
        return next()
      case 'later':
      case 'never':
        log(item, 'warn', this, answer.reason)
        return next(answer.code === 'never' ? DENY : DENYSOFT, oneLine(answer.reason))
    }
  }
  unattended('next hops of queued mail', answer, () => next(DENYSOFT, INTERNAL_ERROR.reply.text))
}

export function name_recipients(
  this: Haraka.Plugin,
  next: Haraka.Next,
  item: Haraka.QueueItem,
  error: Haraka.BounceError,
): void {
  try {
    nameAsWritten(item, error)
  } catch (failure) {
    logFailure(this, item, failure)
  }
  next()
}

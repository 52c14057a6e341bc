// The hooks of Haraka's outbound queue: where a message goes next, and whom a bounce names.
import { nameAsWritten } from '../delivery/outbound'
import { loggable } from '../haraka/internals'
import { INTERNAL_ERROR } from '../routing/decide'
import { state } from './state'

export function find_next_hops(
  this: Haraka.Plugin,
  next: Haraka.NextMx,
  item: Haraka.QueueItem,
  domain: string,
): void {
  const failed = (error: unknown) => {
    state.counts.errors++
    item.logerror(this, 'failed:', loggable(this, error))
    next(DENYSOFT, INTERNAL_ERROR.reply.text)
  }
  const answered = state.outbound.mxFor(item, domain, state.settings).then((answer) => {
    switch (answer.code) {
      case 'ok':
        return next(OK, answer.mxs)
      case 'not-ours':
      case 'split':
        return next()
      case 'later':
      case 'never':
        item.logwarn(this, answer.reason)
        return next(answer.code === 'never' ? DENY : DENYSOFT, answer.reason)
    }
  })
  answered.catch(failed)
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
    state.counts.errors++
    item.logerror(this, 'failed:', loggable(this, failure))
  }
  next()
}

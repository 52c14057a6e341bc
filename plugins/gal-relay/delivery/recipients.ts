// The recipients of one transaction, RCPT by RCPT: what each stands for, and which of them were accepted.
import { newAddress, rcptsAnswered } from '../haraka/internals'
import type { Accepted, Destination } from '../routing/decide'
import { isOurs } from '../routing/kinds'
import { type Directories, saysWhere } from '../settings/directories'
import type { Delivery } from './delivery'

/**
 * To be called before any plugin has looked at the recipient that Haraka has just put at the end of
 * `rcpt_to`. Called again for the same RCPT, it does nothing.
 *
 * @param takesOff whether the recipients of an earlier, refused RCPT are removed from `rcpt_to`
 */
export function beginRcpt(
  delivery: Delivery,
  transaction: Haraka.Transaction,
  written: Haraka.Address,
  takesOff: boolean,
): void {
  const { all: answered, accepted } = rcptsAnswered(transaction)
  if (answered === delivery.rcpt?.answered) return
  const from = transaction.rcpt_to.length - 1
  settle(delivery, transaction, from, takesOff)
  delivery.rcpt = {
    answered,
    accepted,
    // What was taken off stood before it.
    from: transaction.rcpt_to.length - 1,
    acceptedFrom: delivery.accepted.length,
    written,
  }
}

/** No more RCPTs will come: the last one is answered. */
export function endRcpts(delivery: Delivery, transaction: Haraka.Transaction): void {
  settle(delivery, transaction, transaction.rcpt_to.length, true)
  delivery.rcpt = undefined
}

// Haraka has answered by now: after our verdict come the rcpt_ok and deny hooks of others, and their
// failures. Of a refused RCPT it takes one recipient off, and an alias may have put in several.
function settle(
  { rcpt, accepted, before }: Delivery,
  transaction: Haraka.Transaction,
  end: number,
  takesOff: boolean,
): void {
  if (!rcpt) return
  if (rcptsAnswered(transaction).accepted > rcpt.accepted) {
    for (let i = rcpt.acceptedFrom; i < accepted.length; i++) {
      const one = accepted[i]
      if (one) before.add(one.verdict)
    }
    return
  }
  accepted.length = rcpt.acceptedFrom
  if (takesOff && end > rcpt.from) transaction.rcpt_to.splice(rcpt.from, end - rcpt.from)
}

/** The recipients that this RCPT stands for by now: an alias plugin puts others in its place, or none. */
export function targetsOf(
  { rcpt }: Delivery,
  { rcpt_to }: Haraka.Transaction,
): readonly Haraka.Address[] {
  return rcpt_to.slice(rcpt?.from ?? 0)
}

/**
 * Puts back the recipient that another plugin took off without another in its place. Haraka takes the last
 * one off when RCPT is refused: it would be another RCPT's.
 */
export function putBack({ rcpt }: Delivery, { rcpt_to }: Haraka.Transaction): void {
  if (rcpt) rcpt_to.push(rcpt.written)
}

/** @param directories of the settings in force */
export function acceptRecipient(
  delivery: Delivery,
  { mail_from }: Pick<Haraka.Transaction, 'mail_from'>,
  target: Haraka.Address,
  { recipient, kind, rerouted }: Pick<Destination, 'recipient' | 'kind' | 'rerouted'>,
  verdict: Accepted,
  directories: Directories,
): void {
  const as = verdict.leavesAs ?? (rerouted ? recipient : undefined)
  const leaving = as ? newAddress(mail_from, as.local, as.domain) : target
  const written = delivery.rcpt?.written ?? target
  const isFollowed =
    verdict.rule === 'in-gal' &&
    verdict.path === 'outbound' &&
    isOurs(kind) &&
    saysWhere(directories, recipient.domain)
  // Always the same keys: with some of them left out V8 takes five times as long.
  delivery.accepted.push({
    target,
    kind: verdict.kind ?? kind,
    verdict,
    leaving,
    written,
    asked: isFollowed ? recipient : undefined,
  })
}

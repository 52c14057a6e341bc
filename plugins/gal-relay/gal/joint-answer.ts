// The answer of several directories that are asked about one recipient. It must not depend on which
// of them answers first.

import { later, unattended } from '../guard'
import type { Recipient } from '../routing/recipient'
import { ABSENT, type AddressList, type GalAnswer } from './address-list'
import { AMBIGUOUS, mailboxKey } from './mailbox-values'

/** One of the directories. */
export interface Asked {
  readonly list: Pick<AddressList, 'lookup'>
  /** Whether it is asked where the recipient's mail goes. */
  readonly saysWhere: boolean
}

type Found = Extract<GalAnswer, { state: 'found' }>

/** How long a recipient that one directory has waits for others that may contradict it, milliseconds. */
const WAIT = 1000

const FAILED: GalAnswer = { state: 'unavailable', reason: 'a failure of the plugin itself' }

/**
 * The recipient is found if any directory has it, and absent if all say that they do not. "Found"
 * waits for the other directories, which may be slow or down, only if they could say more about the
 * recipient: where its mail goes, or that it takes mail from everybody. Even then it waits briefly.
 */
export function lookupInAll(
  asked: readonly Asked[],
  recipient: Recipient,
): GalAnswer | Promise<GalAnswer> {
  const pending = asked.map(({ list }) => list.lookup(recipient))
  const answers = pending.map((one) => (one instanceof Promise ? undefined : one))
  const atOnce = jointAnswer(asked, answers)
  if (atOnce) return atOnce
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    const settle = (isLate = false) => {
      const answer = jointAnswer(asked, answers, isLate)
      if (answer) {
        clearTimeout(timer)
        resolve(answer)
      } else if (answers.some((one) => one?.state === 'found')) {
        const end = () => settle(true)
        timer ??= later(WAIT, 'wait for the other directories', end, end)
      }
    }
    settle()
    for (const [i, one] of pending.entries()) {
      if (!(one instanceof Promise)) continue
      const take = (answer: GalAnswer) => {
        answers[i] = answer
        settle()
      }
      const answered = async () => take(await one)
      unattended('answer of one of several directories', answered, () => take(FAILED))
    }
  })
}

/**
 * @param answers the answers so far, in the order of the directories
 * @param isLate whether to stop waiting for answers
 * @returns `undefined` while an answer that matters is missing
 */
export function jointAnswer(
  asked: readonly Pick<Asked, 'saysWhere'>[],
  answers: readonly (GalAnswer | undefined)[],
  isLate = false,
): GalAnswer | undefined {
  const isWhole = isLate || answers.every(Boolean)
  const found = answers.filter((one): one is Found => one?.state === 'found')
  if (found.length === 0) {
    return isWhole ? (answers.find((one) => one?.state === 'unavailable') ?? ABSENT) : undefined
  }
  const authenticatedOnly = found.every((one) => one.authenticatedOnly)
  if (!isWhole && (authenticatedOnly || asked.some(({ saysWhere }) => saysWhere))) return undefined
  const saying = answers.filter((one, i): one is Found =>
    Boolean(asked[i]?.saysWhere && one?.state === 'found'),
  )
  const [first, ...others] = saying.map(({ mailbox }) => mailbox)
  const agree = others.every((other) => mailboxKey(other) === mailboxKey(first))
  const mailbox = agree ? first : AMBIGUOUS
  return { state: 'found', authenticatedOnly, ...(mailbox && { mailbox }) }
}

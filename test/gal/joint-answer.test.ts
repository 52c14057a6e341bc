// Several directories asked about one recipient: the answer is the same whichever of them answers first.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ABSENT,
  FOUND,
  FOUND_AUTHENTICATED,
  type GalAnswer,
} from '../../plugins/gal-relay/gal/address-list'
import { lookupInAll } from '../../plugins/gal-relay/gal/joint-answer'
import type { Mailbox } from '../../plugins/gal-relay/routing/mailbox'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'

const ANN = recipientOf('ann', 'example.com')
const AWAY: GalAnswer = { state: 'unavailable', reason: 'away' }
const at = (mailbox: Mailbox): GalAnswer => ({ state: 'found', authenticatedOnly: false, mailbox })
const EX1 = at({ host: 'ex1' })

interface Case {
  readonly what: string
  readonly answers: readonly [GalAnswer, GalAnswer]
  /** Which of them are asked where mail goes; default both. */
  readonly saysWhere?: readonly [boolean, boolean]
  readonly joint: GalAnswer
}

const CASES: readonly Case[] = [
  { what: 'one has it', answers: [FOUND, ABSENT], joint: FOUND },
  { what: 'none has it', answers: [ABSENT, ABSENT], joint: ABSENT },
  { what: 'one cannot say', answers: [AWAY, ABSENT], joint: AWAY },
  { what: 'one has it, the other cannot say', answers: [FOUND, AWAY], joint: FOUND },
  { what: 'the same host', answers: [EX1, at({ host: 'EX1' })], joint: EX1 },
  { what: 'two hosts', answers: [EX1, at({ host: 'ex2' })], joint: at({ isAmbiguous: true }) },
  { what: 'a host and none', answers: [EX1, FOUND], joint: at({ isAmbiguous: true }) },
  {
    what: 'a host, and one not asked',
    answers: [EX1, FOUND],
    saysWhere: [true, false],
    joint: EX1,
  },
  {
    what: 'for authenticated senders, and not',
    answers: [FOUND_AUTHENTICATED, FOUND],
    joint: FOUND,
  },
  {
    what: 'for authenticated senders in both',
    answers: [FOUND_AUTHENTICATED, FOUND_AUTHENTICATED],
    joint: FOUND_AUTHENTICATED,
  },
]

describe('the answer of two directories', () => {
  for (const { what, answers, saysWhere = [true, true], joint } of CASES) {
    for (const order of [
      [0, 1],
      [1, 0],
    ] as const) {
      for (const delays of [
        [0, 0],
        [0, 20],
        [20, 0],
        [10, 20],
      ] as const) {
        test(`${what}, ${order}, after ${delays} ms`, async () => {
          const asked = order.map((one, i) => ({
            saysWhere: saysWhere[one],
            list: {
              lookup() {
                const answer = answers[one]
                return delays[i] === 0 ? answer : sleep(delays[i], answer)
              },
            },
          }))
          const answer = await lookupInAll(asked, ANN)
          const { mailbox, ...rest } = { mailbox: undefined, ...answer }
          const { mailbox: expected, ...others } = { mailbox: undefined, ...joint }
          assert.deepEqual(rest, others)
          assert.deepEqual(lowerCase(mailbox), lowerCase(expected))
        })
      }
    }
  }

  test('does not wait for one that hangs longer than it must', async () => {
    const never = { saysWhere: true, list: { lookup: () => new Promise<GalAnswer>(() => {}) } }
    const found = { saysWhere: true, list: { lookup: () => EX1 } }
    assert.deepEqual(await lookupInAll([never, found], ANN), EX1)
    const plain = { saysWhere: false, list: { lookup: () => FOUND } }
    const other = { ...never, saysWhere: false }
    // At once: it can say nothing that matters.
    assert.deepEqual(lookupInAll([other, plain], ANN), FOUND)
  })

  test('one that fails counts as one that cannot say', async () => {
    const broken = { saysWhere: true, list: { lookup: () => Promise.reject(new Error('bug')) } }
    const found = { saysWhere: true, list: { lookup: () => EX1 } }
    const absent = { saysWhere: true, list: { lookup: () => ABSENT } }
    assert.deepEqual(await lookupInAll([broken, found], ANN), EX1)
    assert.equal((await lookupInAll([broken, absent], ANN)).state, 'unavailable')
  })
})

const lowerCase = (mailbox: Mailbox | undefined) =>
  mailbox && { ...mailbox, ...(mailbox.host && { host: mailbox.host.toLowerCase() }) }

// A steady load of questions, valid and unknown addresses by turns, and what came of them.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { startStopwatch } from '../support/stopwatch'
import { until } from '../support/until'

/** These are in the directory. */
export const VALID = Array.from({ length: 100 }, (_, i) => `user${i}@example.com`)

/** Whom the load is on: a list, or a server that has one. */
export interface Answerer {
  /** @returns how it is answered: `found`, `absent`, `unavailable`, or something wrong */
  answer(address: string): Promise<{ readonly state: string }>
}

export interface LoadOptions {
  /** How many ask at the same time; default 10 */
  readonly askers?: number
  /** Milliseconds from an answer to the next question; default 50 */
  readonly pause?: number
}

export interface Asked {
  readonly address: string
  readonly isValid: boolean
  readonly state: string
  readonly at: number
  /** By the stopwatch. */
  readonly took: number
}

export interface Load {
  /** Milliseconds since it began. */
  readonly now: number
  /** What was asked since then. */
  since(at: number): Asked[]
  /** Waits until valid and unknown addresses are answered as they should be. */
  untilAnswered(): Promise<void>
  stop(): Promise<Asked[]>
}

export function startLoad(
  { answer }: Answerer,
  { askers = 10, pause = 50 }: LoadOptions = {},
): Load {
  const asked: Asked[] = []
  const begin = performance.now()
  const stopwatch = startStopwatch()
  let isOver = false
  let count = 0

  async function ask(): Promise<void> {
    while (!isOver) {
      const isValid = ++count % 2 === 0
      const address = isValid
        ? (VALID[(count / 2) % VALID.length] as string)
        : `nobody${count}@example.com`
      const at = performance.now()
      const from = stopwatch.now
      const { state } = await answer(address)
      const took = stopwatch.now - from
      asked.push({ address, isValid, state, at: at - begin, took })
      await sleep(pause)
    }
  }
  const all = Array.from({ length: askers }, ask)

  return {
    get now() {
      return performance.now() - begin
    },
    since: (at) => asked.filter((one) => one.at >= at),
    async untilAnswered() {
      const from = performance.now() - begin
      await until(() => {
        const recent = asked.filter((one) => one.at >= from).slice(-20)
        return recent.length === 20 && recent.every(({ state }) => state !== 'unavailable')
      })
    },
    async stop() {
      isOver = true
      await Promise.all(all)
      stopwatch.stop()
      return asked
    },
  }
}

/** No valid address was called absent, no unknown one found, and each answer came in time. */
export function assertNothingWrong(asked: readonly Asked[], answerWithin: number): void {
  assert.ok(asked.length > 0)
  const wrong = asked.filter(({ isValid, state }) => state === (isValid ? 'absent' : 'found'))
  assert.deepEqual(wrong.slice(0, 3), [])
  const late = asked.filter(({ took }) => took > answerWithin + 500)
  assert.deepEqual(late.slice(0, 3), [])
}

// A directory does not answer more slowly because it is large.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { serverUrl, type TestList, testList } from './lists'

const SMALL = 1000
const LARGE = 200_000
/** Questions in a row, half of them for addresses that are not there. */
const ROUND = 200
const ROUNDS = 10

const address = (i: number) => `user${i}@example.com`

function filled(count: number): Promise<Slapd> {
  return startSlapd({
    entries: Array.from({ length: count }, (_, i) => ({ mail: address(i) })),
    syncprov: false,
  })
}

test('200,000 entries are asked as fast as 1,000', {
  skip: skipWithout('slapd', 'slapadd'),
}, async (t) => {
  const servers = await Promise.all([filled(SMALL), filled(LARGE)])
  const lists = servers.map(({ url, base }) => testList({ url: [serverUrl(url)], base: [base] }))
  try {
    const took: [number[], number[]] = [[], []]
    // By turns, so that both see the same machine; the first round is for what is only there once.
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [i, list] of lists.entries()) {
        const one = await ask(list, i === 0 ? SMALL : LARGE, round)
        if (round > 0) took[i]?.push(...one)
      }
    }
    const [small, large] = took.map(median) as [number, number]
    t.diagnostic(`median ${small.toFixed(3)} ms of ${SMALL}, ${large.toFixed(3)} ms of ${LARGE}`)
    assert.ok(large <= 2 * small + 0.2, `${large} ms instead of ${small} ms`)
  } finally {
    await Promise.all(lists.map((list) => list.close()))
    await Promise.all(servers.map((server) => server.stop()))
  }
})

/** @returns milliseconds for each question */
async function ask(list: TestList, count: number, round: number): Promise<number[]> {
  const took: number[] = []
  for (let i = 0; i < ROUND; i++) {
    // Spread over all of them.
    const isThere = i % 2 === 0
    const number = (i * ROUNDS * 7919 + round) % count
    const from = performance.now()
    const state = await list.ask(isThere ? address(number) : `nobody${round}-${i}@example.com`)
    took.push(performance.now() - from)
    assert.equal(state, isThere ? 'found' : 'absent')
  }
  return took
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

// Whatever the directory is like, no recipient in it is refused, and none that is not in it is accepted.
// An address that every account can find is found, and where everything can be searched, an unknown one is
// called absent. The look-up and the list in memory never contradict each other. FUZZ_SEED repeats a run,
// and FUZZ_PATH the directory that failed.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { GalAnswer } from '../../plugins/gal-relay/gal/address-list'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { until } from '../support/until'
import {
  type KeepingProcess,
  serverUrl,
  startKeepingProcess,
  type TestList,
  testList,
} from './lists'
import {
  CHILD_OPTIONS,
  HIDDEN_BESIDE_SHOWN,
  type RandomDirectory,
  randomDirectory,
  settingsOf,
  slapdOptions,
  type Truth,
  truthOf,
  writtenAs,
} from './random-directories'

const DIRECTORIES = 25
/** Milliseconds after which a failing directory is not made smaller any more. */
const SHRINKING = 150_000

const skip = skipWithout('slapd', 'slapadd')

let child: Slapd
let lists: KeepingProcess
before(async () => {
  if (skip) return
  child = await startSlapd(CHILD_OPTIONS)
  lists = startKeepingProcess()
})
after(async () => {
  await lists?.stop()
  await child?.stop()
})

test('directories made at random', { skip }, async (t) => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const options = {
    ...{ seed, numRuns: DIRECTORIES, interruptAfterTimeLimit: SHRINKING },
    ...(process.env.FUZZ_PATH
      ? { path: process.env.FUZZ_PATH }
      : { examples: [[HIDDEN_BESIDE_SHOWN] as [RandomDirectory]] }),
  }
  const counts = { found: 0, absent: 0, unavailable: 0 }
  await fc.assert(
    fc.asyncProperty(randomDirectory, async (directory) => {
      const slapd = await startSlapd(slapdOptions(directory, child.port))
      try {
        const truth = truthOf(
          directory,
          settingsOf(directory, child.port).ldap.referrals === 'follow',
        )
        for (const state of await asked(slapd, directory, truth)) counts[state]++
      } finally {
        await slapd.stop()
      }
    }),
    options,
  )
  t.diagnostic(JSON.stringify(counts))
})

type State = 'found' | 'absent' | 'unavailable'

async function asked(slapd: Slapd, directory: RandomDirectory, truth: Truth): Promise<State[]> {
  const { gal, ldap } = settingsOf(directory, child.port)
  const all = { ...ldap, url: [serverUrl(slapd.url)] }
  const file = { file: lists.newFile(), changes_every: 1000 }
  const live = testList(all, gal)
  const kept = testList(all, { ...gal, mode: 'snapshot' }, file)
  try {
    kept.start()
    const fromLive = await answers(live, truth)
    await until(
      () => isReady(kept, truth),
      () => kept.log.lines.join('\n'),
    )
    const fromMemory = await answers(kept, truth)
    judge(truth, fromLive, fromMemory, [...live.log.lines, '— snapshot', ...kept.log.lines])
    return [...fromLive.values(), ...fromMemory.values()].map(({ state }) => state)
  } finally {
    await Promise.all([live.close(), kept.close()])
  }
}

/** The list is in force, or reading it has failed. */
function isReady(list: TestList, { isWhole }: Truth): boolean {
  const { snapshot } = list.report()
  if (snapshot?.sync?.lastError !== undefined) return true
  return (snapshot?.addresses ?? 0) > 0 && (!isWhole || snapshot?.isCurrent === true)
}

async function answers(list: TestList, { asked }: Truth): Promise<Map<string, GalAnswer>> {
  const given = asked.map(
    async (local, i) => [local, await list.answer(writtenAs(local, i))] as const,
  )
  return new Map(await Promise.all(given))
}

function judge(
  { valid, hidden, plain, isProvable }: Truth,
  live: ReadonlyMap<string, GalAnswer>,
  memory: ReadonlyMap<string, GalAnswer>,
  log: readonly string[],
): void {
  const wrong: string[] = []
  for (const [way, answers] of [
    ['live', live],
    ['snapshot', memory],
  ] as const) {
    for (const [local, answer] of answers) {
      const given = answer.state
      const says = (what: string) =>
        wrong.push(`${way}: ${local} is ${what}, and ${JSON.stringify(answer)}`)
      if (valid.has(local) && given === 'absent') says('there')
      if (!valid.has(local) && !hidden.has(local) && given === 'found') says('not there')
      if (plain.has(local) && given !== 'found') says('there to be found')
      if (isProvable && plain.size > 0 && !valid.has(local) && given !== 'absent') {
        says('provably not there')
      }
    }
  }
  assert.deepEqual(wrong, [], log.join('\n'))
}

// Everything that can go wrong with a directory server, under a steady load of questions: no valid
// address is ever called absent, no unknown one found, every answer comes in time, and what can be
// asked elsewhere is.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { skipWithout } from '../support/programs'
import { until } from '../support/until'
import { EMPTIED_BY_AND_BY, FAULTS, PEOPLE, site, stopSites, TIMES } from './fault-sites'
import { serverUrl, type TestList, testList } from './lists'
import { assertNothingWrong, startLoad, VALID } from './load'

function listOf(sites: readonly { readonly proxy: { readonly port: number } }[]): TestList {
  const url = sites.map(({ proxy }) => serverUrl(`ldap://127.0.0.1:${proxy.port}`))
  return testList({ ...TIMES, url, base: [PEOPLE] })
}

const isUnavailable = (asked: readonly { readonly state: string }[]) =>
  asked.length > 0 && asked.every(({ state }) => state === 'unavailable')

describe('faults', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify'), concurrency: 4 }, () => {
  for (const fault of [...FAULTS, EMPTIED_BY_AND_BY]) {
    test(`${fault.name}; there is no other server`, async () => {
      const only = await site()
      const list = listOf([only])
      list.start()
      const load = startLoad(list)
      try {
        await load.untilAnswered()
        // Whoever has not been asked for yet cannot be missed.
        await until(() => load.since(0).length > 2 * VALID.length)
        await fault.begin(only)
        // Once it is known to be down, nobody is answered otherwise, and nobody waits for it.
        await until(() => isUnavailable(load.since(0).slice(-100)))
        const from = load.now
        await until(() => load.since(from).length >= 300)
        const during = load.since(from)
        assert.ok(isUnavailable(during))
        const slow = during.filter(({ took }) => took >= TIMES.query_timeout / 2)
        assert.ok(slow.length < during.length / 10, `${slow.length} of ${during.length} were slow`)
        await fault.end(only)
        await load.untilAnswered()
      } finally {
        const asked = await load.stop()
        await list.close()
        await stopSites(only)
        assertNothingWrong(asked, TIMES.answer_within)
      }
    })

    test(`${fault.name}; a second server is well`, async () => {
      const [first, second] = [await site(), await site()]
      const list = listOf([first, second])
      list.start()
      const load = startLoad(list)
      try {
        await load.untilAnswered()
        // Whoever has not been asked for yet cannot be missed.
        await until(() => load.since(0).length > 2 * VALID.length)
        await fault.begin(first)
        await sleep(TIMES.query_timeout + 1000)
        await fault.end(first)
        await sleep(500)
        await until(() => list.report().servers[0]?.state === 'up')
        const unavailable = load.since(0).filter(({ state }) => state === 'unavailable')
        assert.deepEqual(unavailable.slice(0, 3), [])
      } finally {
        const asked = await load.stop()
        await list.close()
        await stopSites(first, second)
        assertNothingWrong(asked, TIMES.answer_within)
      }
    })
  }
})

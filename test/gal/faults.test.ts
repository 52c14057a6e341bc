// Everything that can go wrong with a directory server, under a steady load of questions: no valid
// address is ever called absent, no unknown one found, every answer comes in time, and what can be
// asked elsewhere is.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { skipWithout } from '../support/programs'
import { FAULTS, PEOPLE, site, stopSites, TIMES } from './fault-sites'
import { serverUrl, type TestList, testList } from './lists'
import { assertNothingWrong, startLoad } from './load'

function listOf(sites: readonly { readonly proxy: { readonly port: number } }[]): TestList {
  const url = sites.map(({ proxy }) => serverUrl(`ldap://127.0.0.1:${proxy.port}`))
  return testList({ ...TIMES, url, base: [PEOPLE] })
}

describe('faults', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify'), concurrency: 4 }, () => {
  for (const fault of FAULTS) {
    test(`${fault.name}; there is no other server`, async () => {
      const only = await site()
      const list = listOf([only])
      list.start()
      const load = startLoad(list)
      try {
        await load.untilAnswered(2000)
        await fault.begin(only)
        await sleep(2000)
        // Once it is known to be down, nobody waits for it.
        const during = load.since(load.now - 500)
        assert.ok(during.length > 50)
        assert.ok(during.every(({ state }) => state === 'unavailable'))
        const slow = during.filter(({ took }) => took > 150)
        assert.ok(slow.length < during.length / 10, `${slow.length} of ${during.length} were slow`)
        await fault.end(only)
        await load.untilAnswered(5000)
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
        await load.untilAnswered(2000)
        await fault.begin(first)
        await sleep(1500)
        await fault.end(first)
        await sleep(1500)
        const unavailable = load.since(0).filter(({ state }) => state === 'unavailable')
        assert.deepEqual(unavailable.slice(0, 3), [])
        const [preferred] = list.report().servers
        assert.equal(preferred?.state, 'up')
      } finally {
        const asked = await load.stop()
        await list.close()
        await stopSites(first, second)
        assertNothingWrong(asked, TIMES.answer_within)
      }
    })
  }
})

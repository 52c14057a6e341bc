// The same faults as for the live look-up, with the list in memory: a valid address is found whatever
// the directory does, an unknown one is never, and no valid one is ever called absent.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { skipWithout } from '../../support/programs'
import { until } from '../../support/until'
import { FAULTS, PEOPLE, type Site, site, stopSites, TIMES } from '../fault-sites'
import { serverUrl, type TestList, testList } from '../lists'
import { assertNothingWrong, type Load, startLoad } from '../load'

const CHANGES_EVERY = 1000

function listOf({ proxy }: Site, file: string): TestList {
  const url = [serverUrl(`ldap://127.0.0.1:${proxy.port}`)]
  const snapshot = { file, changes_every: CHANGES_EVERY }
  return testList({ ...TIMES, url, base: [PEOPLE] }, { mode: 'snapshot' }, snapshot)
}

const isCurrent = (list: TestList) => list.report().snapshot?.isCurrent === true

async function end(load: Load, list: TestList, only: Site, folder: string): Promise<void> {
  const asked = await load.stop()
  await list.close()
  await stopSites(only)
  rmSync(folder, { recursive: true })
  assertNothingWrong(asked, TIMES.answer_within)
  const deferred = asked.filter(({ isValid, state }) => isValid && state !== 'found')
  assert.deepEqual(deferred.slice(0, 3), [])
}

describe('faults with the list in memory', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
  concurrency: 4,
}, () => {
  for (const fault of FAULTS) {
    test(`${fault.name}; the list was current`, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const only = await site()
      const list = listOf(only, path.join(folder, 'list'))
      list.start()
      await until(() => isCurrent(list))
      const load = startLoad(list)
      try {
        await load.untilAnswered()
        await fault.begin(only)
        await until(() => !isCurrent(list))
        await sleep(1000)
        await fault.end(only)
        await until(() => isCurrent(list))
        await load.untilAnswered()
      } finally {
        await end(load, list, only, folder)
      }
    })

    test(`${fault.name}; the list was loaded when that had happened`, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const file = path.join(folder, 'list')
      const only = await site()
      const first = listOf(only, file)
      first.start()
      await until(() => isCurrent(first)).finally(() => first.close())

      await fault.begin(only)
      const list = listOf(only, file)
      list.start()
      const load = startLoad(list)
      try {
        await sleep(1500)
        await fault.end(only)
        await until(() => isCurrent(list))
        await load.untilAnswered()
      } finally {
        await end(load, list, only, folder)
      }
    })
  }
})

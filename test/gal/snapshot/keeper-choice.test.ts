// Of a server's workers exactly one keeps the lists; when it ends, gives up or hangs another one
// does, and whoever was replaced learns that. And what is said where no list can be kept.
import assert from 'node:assert/strict'
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Claim, chooseAmongWorkers } from '../../../plugins/gal-relay/gal/snapshot/keeper-choice'
import { ListReader } from '../../../plugins/gal-relay/gal/snapshot/list-reader'
import { until } from '../../support/until'
import { GAL, LDAP, type RecordedLog, recordedLog, SNAPSHOT, serverUrl } from '../lists'

/** What a worker of this test says. */
type Said = 'chosen' | 'dismissed' | 'unanswered'

if (cluster.isWorker) claimForTest()
else runTests()

function claimForTest(): void {
  const say = (said: Said) => process.send?.(said)
  const claim = new Claim({
    onChosen: () => say('chosen'),
    onDismissed: () => say('dismissed'),
    onUnanswered: () => say('unanswered'),
  })
  process.on('message', (message) => {
    if (message === 'give up') claim.close()
  })
  claim.start()
}

function runTests(): void {
  test('a master that does not choose is noticed', async () => {
    cluster.setupPrimary({ exec: __filename, args: [], execArgv: [] })
    const worker = cluster.fork()
    const said: unknown[] = []
    worker.on('message', (message) => {
      if (typeof message === 'string') said.push(message)
    })
    try {
      await until(() => said.length > 0)
      assert.deepEqual(said, ['unanswered'])
    } finally {
      worker.process.kill('SIGKILL')
      await once(worker, 'exit')
    }
  })

  describe('the choice of who keeps the lists', () => {
    let workers: Worker[]
    let chosen: Set<Worker>

    before(() => {
      chooseAmongWorkers()
    })
    beforeEach(async () => {
      chosen = new Set()
      workers = Array.from({ length: 4 }, () => cluster.fork())
      for (const worker of workers) {
        worker.on('message', (said: Said) => {
          if (said === 'chosen') chosen.add(worker)
          if (said === 'dismissed') chosen.delete(worker)
        })
        worker.on('disconnect', () => chosen.delete(worker))
      }
      await until(() => chosen.size === 1)
    })
    afterEach(async () => {
      const ends = workers.filter((one) => !one.isDead()).map((one) => once(one, 'exit'))
      for (const worker of workers) worker.process.kill('SIGKILL')
      await Promise.all(ends)
    })

    const theChosen = () => {
      const [one] = chosen
      assert.ok(one && chosen.size === 1, `${chosen.size} are chosen`)
      return one
    }
    const isAnother = (before: Worker) => chosen.size === 1 && !chosen.has(before)

    test('falls on one of many, and stays', async () => {
      const one = theChosen()
      await sleep(3000)
      assert.equal(theChosen(), one)
    })

    test('falls on another when the one gives up', async () => {
      const one = theChosen()
      one.send('give up')
      chosen.delete(one)
      await until(() => isAnother(one))
    })

    test('falls on another when the one is killed', async () => {
      const one = theChosen()
      one.process.kill('SIGKILL')
      await until(() => isAnother(one))
      await sleep(2500)
      theChosen()
    })

    test('falls on another when the one stands still, which then learns of it', async () => {
      const one = theChosen()
      one.process.kill('SIGSTOP')
      await until(() => chosen.size === 2)
      one.process.kill('SIGCONT')
      await until(() => isAnother(one))
      await sleep(2500)
      assert.ok(isAnother(one))
    })
  })

  describe('a server that is one process', () => {
    test('has nobody to ask', () => {
      const said: Said[] = []
      const claim = new Claim({
        onChosen: () => said.push('chosen'),
        onDismissed: () => said.push('dismissed'),
        onUnanswered: () => said.push('unanswered'),
      })
      claim.start()
      assert.deepEqual(said, ['chosen'])
      claim.close()
    })
  })

  describe('where no list can be kept', () => {
    let folder: string
    let log: RecordedLog
    let reader: ListReader | undefined

    const start = (...names: string[]) => {
      const ldap = { ...LDAP, url: [serverUrl('ldap://127.0.0.1:1')] }
      const snapshot = { ...SNAPSHOT, file: path.join(folder, ...names, 'list') }
      reader = new ListReader({ gal: GAL, ldap, snapshot }, log)
      reader.start()
    }
    const problems = () => log.lines.filter((line) => line.includes('no list can be kept in'))

    beforeEach(() => {
      folder = mkdtempSync(path.join(tmpdir(), 'reader-'))
      log = recordedLog()
    })
    afterEach(() => {
      reader?.close()
      rmSync(folder, { recursive: true })
    })

    test('since others may write to the folder, that is said until it is right', async () => {
      chmodSync(folder, 0o1777)
      start()
      await until(() => problems().length > 0)
      assert.match(
        String(problems()[0]),
        /error .*one by one: others may write to the folder .*mode 1777\): chmod go-w/,
      )
      assert.equal(reader?.report, undefined)
      chmodSync(folder, 0o755)
      await until(() => reader?.report !== undefined)
    })

    test('since there is no folder, that is said once', async () => {
      start('missing')
      await until(() => problems().length > 0)
      await sleep(2500)
      assert.equal(problems().length, 1)
      assert.match(String(problems()[0]), /ENOENT/)
    })
  })

  after(() => {
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
  })
}

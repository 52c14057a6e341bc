// The process that keeps the list is killed at fifty moments, while it reads, while it writes the list
// and while it appends changes: each time the file holds a whole list, the old one or the new one.
import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, watch } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { listDefinition } from '../../../plugins/gal-relay/gal/directory/list-definition'
import { IN_LIST } from '../../../plugins/gal-relay/gal/snapshot/address-table'
import { readListInForce } from '../../../plugins/gal-relay/gal/snapshot/in-force'
import type { ListSettings } from '../../../plugins/gal-relay/gal/snapshot/list-settings'
import { REPOSITORY } from '../../support/haraka'
import { skipWithout } from '../../support/programs'
import { startSlapd } from '../../support/slapd'
import { until } from '../../support/until'
import { GAL, LDAP, SNAPSHOT, serverUrl } from '../lists'

const PROGRAM = path.join(REPOSITORY, 'dist/plugins/gal-relay/gal/snapshot/sync-process.js')
const KILLS = 50
const COUNT = 1000

const address = (n: number) => `user${n}@corp.test`

const LIST = listDefinition(GAL, LDAP)

test('killed at fifty moments, the list on the disk is always whole', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
  const file = path.join(folder, 'list')
  const slapd = await startSlapd({ entries: Array.from({ length: COUNT }, (_, n) => address(n)) })
  const settings: ListSettings = {
    gal: GAL,
    ldap: {
      ...LDAP,
      url: [serverUrl(slapd.url)],
      bind_dn: slapd.bindDn,
      bind_password: slapd.password,
    },
    snapshot: { ...SNAPSHOT, file, changes_every: 1000 },
  }
  const isWriting = () => readdirSync(folder).some((name) => name.endsWith('.unfinished'))
  /** The next time that a list begins to be written: shorter than any timer. */
  const writing = () =>
    new Promise<void>((resolve) => {
      const watcher = watch(folder, (_, name) => {
        if (!name?.endsWith('.unfinished')) return
        watcher.close()
        resolve()
      })
    })
  const hasList = () =>
    readListInForce(LIST, settings.snapshot).then(
      () => true,
      () => false,
    )

  let running: ChildProcess | undefined
  const start = (): ChildProcess => {
    const child = fork(PROGRAM, { execArgv: [], serialization: 'advanced' })
    running = child
    child.send({ keep: [{ number: 1, settings }], drop: [] })
    return child
  }
  async function kill(child: ChildProcess): Promise<void> {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  let isOver = false
  const changing = (async () => {
    for (let n = 0; !isOver; n++) {
      await slapd.add(`new${n}@corp.test`)
      await slapd.delete(slapd.dnOf(`new${n}@corp.test`))
      // Each is two processes, which take the machine from what is to be killed.
      await sleep(300)
    }
  })()

  try {
    const begun = performance.now()
    const first = start()
    await until(hasList)
    const whole = performance.now() - begun
    await sleep(500)
    await kill(first)

    const moments = { reading: 0, writing: 0, following: 0 }
    for (let n = 0; n < KILLS; n++) {
      const { takenAt } = await readListInForce(LIST, settings.snapshot)
      const child = start()
      if (n % 2 === 0) {
        await sleep(Math.random() * 1.5 * whole)
      } else {
        await writing()
        if (n % 4 === 1) await sleep(Math.random() * 10)
      }
      const wasWriting = isWriting()
      await kill(child)
      const list = await readListInForce(LIST, settings.snapshot)
      moments[wasWriting ? 'writing' : list.takenAt === takenAt ? 'reading' : 'following']++
      const more = list.count - COUNT
      assert.ok(more >= 0 && more <= 3, `${list.count} recipients`)
      for (let one = n; one < COUNT; one += KILLS) {
        assert.equal(list.find(address(one)), IN_LIST, address(one))
      }
    }
    console.log(`killed while reading, writing and following: ${JSON.stringify(moments)}`)

    const last = start()
    await until(
      () => !isWriting(),
      () => 'what killed processes left is still there',
    )
    await kill(last)
  } finally {
    running?.kill('SIGKILL')
    isOver = true
    await changing
    await slapd.stop()
    rmSync(folder, { recursive: true })
  }
})

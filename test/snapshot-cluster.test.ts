// A real Haraka in snapshot mode: one process keeps the list for all workers, another one does when it
// dies, and an install whose directory is away answers from the disk at once.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Haraka, startHaraka } from './support/haraka'
import { skipWithout } from './support/programs'
import { type Slapd, startSlapd } from './support/slapd'
import { connectSmtp } from './support/smtp'
import { until } from './support/until'

const KNOWN = Array.from({ length: 50 }, (_, i) => `known${i}@example.com`)

const ini = (slapd: Slapd) => `[routes]
example.com = inbound
[gal]
mode = snapshot
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
[snapshot]
changes_every = 2s
`

interface Process {
  readonly pid: number
  readonly parent: number
}

/** The processes below these that keep a list. */
function syncProcesses(parents: readonly number[]): Process[] {
  const found: Process[] = []
  for (const name of readdirSync('/proc').filter((one) => /^\d+$/.test(one))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state === 'Z' || !parents.includes(Number(parent))) continue
      const command = readFileSync(`/proc/${name}/cmdline`, 'latin1')
      if (/sync/.test(command)) found.push({ pid: Number(name), parent: Number(parent) })
    } catch {
      // it has ended
    }
  }
  return found
}

async function ask(haraka: Haraka, ...recipients: string[]): Promise<string[]> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: CLIENT })
  await smtp.ehlo()
  await smtp.mail('a@b.example')
  const replies = []
  for (const to of recipients) replies.push((await smtp.rcpt(to)).line.slice(0, 9))
  await smtp.quit()
  return replies
}
const CLIENT = { client: '203.0.113.9', local: '10.0.0.5:25' }
const FOUND = '250 recip'
const ABSENT = '550 5.1.1'
const DEFERRED = '451 4.4.3'

/** Every worker says so: connections go to all of them. */
async function all(haraka: Haraka, to: string, reply: string): Promise<boolean> {
  const replies = await Promise.all(Array.from({ length: 12 }, () => ask(haraka, to)))
  return replies.every(([one]) => one === reply)
}

describe('a list in memory, with several workers', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, () => {
  let slapd: Slapd
  let haraka: Haraka
  const keepers = () => syncProcesses(haraka.workers)

  before(async () => {
    slapd = await startSlapd({ entries: KNOWN })
    haraka = await startHaraka({ ini: ini(slapd), nodes: 3, outbound: false })
    await haraka.waitForLog(/the list is in force: 50 recipients/)
  })
  after(async () => {
    await haraka?.stop()
    await slapd?.stop()
  })

  test('exactly one process keeps it, and all workers have it', async () => {
    assert.equal(haraka.workers.length, 3)
    assert.equal(keepers().length, 1)
    await slapd.add('new@example.com')
    await until(() => all(haraka, 'new@example.com', FOUND), 5000)
    await slapd.delete(slapd.dnOf('new@example.com'))
    await until(() => all(haraka, 'new@example.com', ABSENT), 5000)
    assert.equal(keepers().length, 1)
  })

  test('the process that keeps it is killed: another one is started', async () => {
    const [before] = keepers()
    assert.ok(before)
    process.kill(before.pid, 'SIGKILL')
    await slapd.add('meanwhile@example.com')
    await until(() => keepers().some(({ pid }) => pid !== before.pid), 10_000)
    await until(() => all(haraka, 'meanwhile@example.com', FOUND), 10_000)
    await slapd.delete(slapd.dnOf('meanwhile@example.com'))
    await until(() => all(haraka, 'meanwhile@example.com', ABSENT), 10_000)
    assert.equal(keepers().length, 1)
  })

  test('the worker that started it is killed: another worker takes over', async () => {
    const [before] = keepers()
    assert.ok(before)
    process.kill(before.parent, 'SIGKILL')
    await until(
      () => !existsSync(`/proc/${before.pid}`),
      3000,
      () => 'it outlived its parent',
    )
    await until(() => keepers().length === 1, 12_000)
    await until(() => haraka.workers.filter((pid) => pid !== before.parent).length >= 3, 12_000)
    await slapd.add('later@example.com')
    await until(() => all(haraka, 'later@example.com', FOUND), 10_000)
    assert.equal(keepers().length, 1)
  })

  test('with the directory away, a restart answers from the disk at once', async () => {
    await slapd.kill()
    await haraka.restart()
    const [known, unknown] = await ask(haraka, 'known7@example.com', 'nobody@example.com')
    assert.deepEqual([known, unknown], [FOUND, DEFERRED])
    await slapd.restart()
    await until(() => all(haraka, 'nobody@example.com', ABSENT), 15_000)
  })

  test('settings that change nothing here leave it as it is; others make a new one', async () => {
    const [before] = keepers()
    assert.ok(before)
    haraka.writeConfig('gal_relay.ini', `${ini(slapd)}\n[restrictions]\nhosts[] = 192.0.2.1\n`)
    await haraka.waitForLog(/settings reloaded/)
    await sleep(1500)
    assert.deepEqual(keepers(), [before])

    const from = haraka.log().length
    const other = ini(slapd).replace('mode =', 'attributes[] = mail\nmode =')
    haraka.writeConfig('gal_relay.ini', other)
    await haraka.waitForLog(/not used: it was made with another base, filter or list/, 15_000, from)
    await haraka.waitForLog(/the list is in force: 51 recipients/, 15_000, from)
    assert.equal(keepers().length, 1)
    assert.ok(await all(haraka, 'known7@example.com', FOUND))
  })

  test('it ends with Haraka, and leaves the list and nothing else', async () => {
    const [last] = keepers()
    assert.ok(last)
    await haraka.end('SIGINT')
    await until(() => !existsSync(`/proc/${last.pid}`), 3000)
    const left = readdirSync(haraka.dir).filter((name) => name.startsWith('gal_relay'))
    assert.deepEqual(left, ['gal_relay.snapshot'])
    assert.ok(existsSync(path.join(haraka.dir, 'gal_relay.snapshot')))
  })
})

describe('a list in memory, in one process', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, () => {
  test('is kept by another, which is not missed when mail stops', async () => {
    const slapd = await startSlapd({ entries: KNOWN })
    const haraka = await startHaraka({ ini: ini(slapd), nodes: 0 })
    try {
      await haraka.waitForLog(/the list is in force: 50 recipients/)
      assert.equal(syncProcesses([haraka.pid]).length, 1)
      assert.deepEqual(await ask(haraka, 'known7@example.com'), [FOUND])
      await until(() => all(haraka, 'nobody@example.com', ABSENT), 5000)
      const [keeper] = syncProcesses([haraka.pid])
      await haraka.end('SIGKILL')
      await until(() => !existsSync(`/proc/${keeper?.pid}`), 3000)
    } finally {
      await haraka.stop()
      await slapd.stop()
    }
  })
})

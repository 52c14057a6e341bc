// A server that reads the directory for others hangs for so long that another one takes over, and goes
// on: it asks the directory nothing more.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Edge, FOUND, keyFileIn, SECRET, withQuestions } from '../support/edge'
import { startHaraka } from '../support/haraka'
import { readingProcesses, sharedListIni } from '../support/list-readers'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

interface Server {
  readonly haraka: Edge
  readonly ldap: TcpProxy
  /** Times at which its reader has asked the directory something. */
  readonly asked: number[]
}

describe('a reader of a shared list that stood still', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let servers: Server[] = []
  const folder = mkdtempSync(path.join(tmpdir(), 'share-'))
  before(async () => {
    const key = keyFileIn(folder)
    key.write(SECRET)
    // Without it the directory is asked for changes again and again.
    slapd = await startSlapd({ entries: ['known1@example.com'], syncprov: false })
    redis = await startRedis()
    servers = await Promise.all(
      [1, 2].map(async () => {
        const asked: number[] = []
        const ofReaders = new Set<Socket>()
        const onRequest = (bytes: Buffer, client: Socket) => {
          // For mail the directory is asked over other connections.
          if (bytes.includes('modifyTimestamp')) ofReaders.add(client)
          if (ofReaders.has(client)) asked.push(performance.now())
        }
        const ldap = await startTcpProxy(Number(new URL(slapd.url).port), { onRequest })
        const haraka = await startHaraka({
          outbound: false,
          ini: sharedListIni({
            port: ldap.port,
            base: slapd.base,
            keyFile: key.file,
            redis: redis.url,
            changesEvery: '1s',
          }),
        })
        return { haraka: withQuestions(haraka, key), ldap, asked }
      }),
    )
  })
  after(async () => {
    await Promise.all(servers.map(({ haraka }) => haraka.stop()))
    await Promise.all(servers.map(({ ldap }) => ldap.stop()))
    await redis?.stop()
    await slapd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const isReading = ({ haraka }: Server) => readingProcesses(haraka.pid) !== undefined

  test('goes on where only the process that reads stood still', async () => {
    await until(() => servers.filter(isReading).length === 1)
    const [one] = servers.filter(isReading)
    assert.ok(one)
    await one.haraka.waitForLog(/the list default is published to/)
    const processes = readingProcesses(one.haraka.pid)
    assert.ok(processes)
    process.kill(processes.reader, 'SIGSTOP')
    // For longer than its lease.
    await sleep(10_000)
    one.asked.length = 0
    process.kill(processes.reader, 'SIGCONT')
    await until(() => one.asked.length > 2)
    await slapd.add('new@example.com')
    for (const { haraka } of servers) await haraka.answers('new@example.com', FOUND)
    assert.deepEqual(readingProcesses(one.haraka.pid), processes)
  })

  for (const isLate of [true, false]) {
    const what = isLate ? 'the processes that started it go on later' : 'all of its server goes on'
    test(`asks nothing more: ${what}`, async () => {
      await until(() => servers.filter(isReading).length === 1)
      const [stopped, other] = servers.toSorted(
        (a, b) => Number(isReading(b)) - Number(isReading(a)),
      )
      assert.ok(stopped && other)
      await stopped.haraka.waitForLog(/the list default is published to/)
      await until(() => stopped.asked.length > 0)
      const processes = readingProcesses(stopped.haraka.pid)
      assert.ok(processes)
      const { worker, keeper, reader } = processes
      for (const pid of [worker, keeper, reader]) process.kill(pid, 'SIGSTOP')
      await until(() => isReading(other), 'another one reads')
      await other.haraka.answers('known1@example.com', FOUND)
      stopped.asked.length = 0
      process.kill(reader, 'SIGCONT')
      if (!isLate) for (const pid of [keeper, worker]) process.kill(pid, 'SIGCONT')
      await until(() => !isReading(stopped), 'it has ended')
      if (isLate) for (const pid of [keeper, worker]) process.kill(pid, 'SIGCONT')
      // Its list is the other one's now.
      const line = /this server does not read the list default any more/
      await until(() => stopped.haraka.logLines(line).length > 0)
      assert.equal(stopped.asked.length, 0)
      assert.ok(isReading(other))
      stopped.haraka.forgetLog()
    })
  }
})

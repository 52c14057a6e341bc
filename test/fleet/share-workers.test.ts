// Two servers of two workers each with `share = redis`: the directory has one reader, whichever of their
// processes is killed or hangs.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ABSENT, type Edge, FOUND, keyFileIn, SECRET, withQuestions } from '../support/edge'
import { startHaraka } from '../support/haraka'
import {
  type ReadingProcesses,
  readingProcesses,
  sharedListIni,
  type WatchedDirectory,
  watchDirectory,
} from '../support/list-readers'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { until } from '../support/until'

const WORKERS = 2
const PEOPLE = Array.from({ length: 50 }, (_, n) => `known${n}@example.com`)
const KNOWN = 'known1@example.com'
/** Milliseconds between two questions while mail flows. */
const PAUSE = 200

interface Reader {
  readonly server: Edge
  readonly processes: ReadingProcesses
}

describe('a list that servers of several workers share', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let directory: WatchedDirectory
  let servers: readonly Edge[]
  let count = 0
  const folder = mkdtempSync(path.join(tmpdir(), 'share-'))
  before(async () => {
    const key = keyFileIn(folder)
    key.write(SECRET)
    slapd = await startSlapd({ entries: PEOPLE })
    redis = await startRedis({ conf: ['enable-debug-command local'] })
    directory = await watchDirectory(Number(new URL(slapd.url).port))
    servers = await Promise.all(
      [1, 2].map(async () => {
        const haraka = await startHaraka({
          nodes: WORKERS,
          outbound: false,
          ini: sharedListIni({
            port: directory.port,
            base: slapd.base,
            keyFile: key.file,
            redis: redis.url,
          }),
        })
        return withQuestions(haraka, key)
      }),
    )
  })
  after(async () => {
    await Promise.all((servers ?? []).map((haraka) => haraka.stop()))
    await directory?.stop()
    await redis?.stop()
    await slapd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  async function theReader(): Promise<Reader> {
    const all = () =>
      servers.flatMap((server): Reader[] => {
        const processes = readingProcesses(server.pid)
        return processes ? [{ server, processes }] : []
      })
    await until(() => all().length === 1 && directory.readers.now === 1)
    const [one] = all()
    assert.ok(one)
    return one
  }
  const otherThan = (server: Edge) => servers.find((one) => one !== server) as Edge

  /** Every worker has the list, and follows what is added and deleted. */
  async function isFollowed(asked = servers): Promise<void> {
    const one = `new${count++}@example.com`
    async function everywhere(reply: string): Promise<void> {
      // One worker of each server first, which costs less than to ask all of them over and over.
      for (const server of asked) await server.answers(one, reply, 60_000)
      await until(async () => {
        const all = asked.flatMap((server) =>
          Array.from({ length: 4 * WORKERS }, () => server.ask(one, KNOWN)),
        )
        return (await Promise.all(all)).every(([news, known]) => news === reply && known === FOUND)
      })
    }
    await slapd.add(one)
    await everywhere(FOUND)
    await slapd.delete(slapd.dnOf(one))
    await everywhere(ABSENT)
  }

  /** That server accepts known recipients all the while. */
  async function whileMailFlows(server: Edge, work: () => Promise<void>): Promise<void> {
    let isOver = false
    const replies = new Set<string>()
    const beside = (async () => {
      while (!isOver) {
        for (const reply of await server.ask(KNOWN)) replies.add(reply)
        await sleep(PAUSE)
      }
    })()
    try {
      await work()
    } finally {
      isOver = true
      await beside
    }
    assert.deepEqual([...replies], [FOUND])
  }

  /** One new reader takes over, and there are never two at a time. */
  async function isReadOnceMore(before: number): Promise<void> {
    await until(() => directory.readers.inAll > before, 'a process reads the list')
    await theReader()
    await isFollowed()
    assert.equal(directory.readers.inAll, before + 1)
    assert.equal(directory.readers.most, 1)
  }

  test('has one reader, and all workers have the list', async () => {
    await theReader()
    await isFollowed()
    assert.deepEqual(directory.readers, { now: 1, most: 1, inAll: 1 })
  })

  for (const [what, which] of [
    ['process that reads the directory', 'reader'],
    ['process that keeps the list', 'keeper'],
    ['worker that started the keeper', 'worker'],
  ] as const) {
    test(`the ${what} is killed`, async () => {
      const { server, processes } = await theReader()
      const before = directory.readers.inAll
      await whileMailFlows(otherThan(server), async () => {
        process.kill(processes[which], 'SIGKILL')
        await isReadOnceMore(before)
      })
    })
  }

  test('the worker that started the keeper stands still, and goes on', async () => {
    const { server, processes } = await theReader()
    const before = directory.readers.inAll
    await whileMailFlows(otherThan(server), async () => {
      process.kill(processes.worker, 'SIGSTOP')
      try {
        await until(() => directory.readers.inAll > before, 'a process reads the list')
        assert.equal((await theReader()).processes.worker === processes.worker, false)
      } finally {
        process.kill(processes.worker, 'SIGCONT')
      }
      await isReadOnceMore(before)
    })
  })

  test('the master stands still: its worker goes on', async () => {
    const { server, processes } = await theReader()
    const before = directory.readers.inAll
    await whileMailFlows(otherThan(server), async () => {
      process.kill(server.pid, 'SIGSTOP')
      try {
        // Workers wait longest: for ten seconds.
        await server.waitForLog(/the master process has not chosen a worker/)
        await isFollowed([otherThan(server)])
      } finally {
        process.kill(server.pid, 'SIGCONT')
      }
      await isFollowed()
      assert.deepEqual((await theReader()).processes, processes)
      assert.deepEqual(directory.readers, { now: 1, most: 1, inAll: before })
    })
  })

  const faults: readonly [name: string, begin: () => unknown, end: () => unknown][] = [
    [
      'full',
      () => redis.run('CONFIG', 'SET', 'maxmemory', '1'),
      () => redis.run('CONFIG', 'SET', 'maxmemory', '0'),
    ],
    [
      'to be read only',
      () => redis.run('REPLICAOF', '127.0.0.1', '1'),
      () => redis.run('REPLICAOF', 'NO', 'ONE'),
    ],
    ['standing still', () => redis.pause(), () => redis.resume()],
  ]
  for (const [what, begin, end] of faults) {
    test(`Redis is ${what}: nobody reads, each server asks, and all is well afterwards`, async () => {
      await theReader()
      const one = `new${count++}@example.com`
      const [first, second] = servers
      assert.ok(first && second)
      await whileMailFlows(first, () =>
        whileMailFlows(second, async () => {
          await begin()
          try {
            await until(() => directory.readers.now === 0, 'nobody reads')
            await slapd.add(one)
            for (const server of servers) await server.answers(one, FOUND)
          } finally {
            await end()
          }
          await theReader()
          await isFollowed()
          assert.equal(directory.readers.most, 1)
        }),
      )
    })
  }

  test('Redis is asleep, and closes connections: the reader stays', async () => {
    const { processes } = await theReader()
    const before = directory.readers.inAll
    await redis.run('DEBUG', 'SLEEP', '3')
    for (let n = 0; n < 3; n++) {
      await redis.run('CLIENT', 'KILL', 'TYPE', 'normal')
      await isFollowed()
    }
    assert.deepEqual((await theReader()).processes, processes)
    assert.deepEqual(directory.readers, { now: 1, most: 1, inAll: before })
  })

  test('the master is killed: the other server takes over', async () => {
    const { server } = await theReader()
    const before = directory.readers.inAll
    const other = otherThan(server)
    await whileMailFlows(other, async () => {
      await server.end('SIGKILL')
      await until(() => directory.readers.inAll > before, 'the other one reads the list')
      await isFollowed([other])
      await server.restart()
      await isReadOnceMore(before)
      assert.equal((await theReader()).server, other)
    })
  })
})
